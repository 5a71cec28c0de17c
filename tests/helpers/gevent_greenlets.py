"""Promises about greenlets: as peers, in `blocking`, from `spawn`, and when they are killed."""

from __future__ import annotations

import contextvars
import gc
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.os
import gevent.pool
import gevent.server
import gevent.socket
from greenlet import GreenletExit

import bridgeio
import bridgeio_gevent
from bridgeio import blocking
from bridgeio.registry import current_task
from gevent_promises import (
    ask,
    connect,
    echo,
    native_server,
    natively_until,
    promise,
    raised_by,
    run,
    until,
)

__all__: list[str] = []  # `gevent_promises.PROMISES` has them


# Peers


@promise
def native_client_and_our_server() -> None:
    """A client over gevent's sockets talks to bridgeio.serve in the same process."""

    def client(port: int) -> bytes:
        with gevent.socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"hello")
            return bytes(sock.recv(100))

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            clients = [gevent.spawn(client, server.port) for _ in range(5)]
            gevent.joinall(clients)
            assert [one.get() for one in clients] == [b"hello"] * 5

    run(main)


@promise
def our_client_and_native_server() -> None:
    """A bridgeio client talks to a gevent StreamServer in the same process."""
    server = native_server()
    try:
        assert run(ask, server.server_port, b"hello") == b"hello"
        assert blocking(ask)(server.server_port, b"again") == b"again"
    finally:
        server.stop()


# blocking()


@promise
def blocking_blocks_one_greenlet() -> None:
    """Greenlets in blocking reads do not hold each other up, nor does the main greenlet hold up any."""
    server = native_server()
    got: list[str] = []

    def client(name: str, mine: Any, others: Any) -> None:
        reader, writer = connect("127.0.0.1", server.server_port)
        if others is None:
            mine.wait()  # a gevent call beside ours
        else:
            gevent.spawn_later(0.01, others.set)
        writer.write(b"x")
        assert blocking(reader.readexactly)(1) == b"x"
        got.append(name)
        writer.close()

    go = gevent.event.Event()
    waits_first = gevent.spawn(client, "second", go, None)
    client("first", go, go)
    waits_first.get()
    assert got == ["first", "second"]

    silent: Any = gevent.server.StreamServer(("127.0.0.1", 0), lambda sock, _: gevent.sleep(60))
    silent.start()
    reader, writer = connect("127.0.0.1", silent.server_port)
    reads = gevent.spawn(blocking(reader.read), 10)
    assert blocking(ask)(server.server_port, b"while it reads") == b"while it reads"
    assert not reads.ready()
    reads.kill()
    writer.abort()
    silent.stop()
    server.stop()


@promise
def blocking_in_main_lets_greenlets_run() -> None:
    """While the main greenlet waits in a blocking call, the others have their turns."""
    turns: list[None] = []

    def ticks() -> None:
        while len(turns) < 3:
            gevent.sleep(0.001)
            turns.append(None)

    ticker = gevent.spawn(ticks)
    blocking(until)(ticker.ready)
    assert len(turns) == 3


@promise
def a_connection_outlives_its_call() -> None:
    """What one blocking call has opened serves the next, in any greenlet of the hub."""
    server = native_server()
    reader, writer = connect("127.0.0.1", server.server_port)
    writer.write(b"main\n")
    assert gevent.spawn(blocking(reader.readline)).get() == b"main\n"
    gevent.spawn(writer.write, b"greenlet\n").get()
    assert blocking(reader.readline)() == b"greenlet\n"
    with blocking(_stream)(writer) as same:
        assert same is writer
    assert writer.is_closing()
    server.stop()


def _stream(writer: bridgeio.Writer) -> bridgeio.Writer:
    return writer


@promise
def blocking_in_a_task_runs_in_that_task() -> None:
    """A blocking call inside a task is that task's: its scope cancels it, its record is the same."""

    async def record() -> object:
        return current_task()

    async def main() -> None:
        assert blocking(record)() is current_task()
        assert contextvars.Context().run(blocking(record)) is current_task()
        with bridgeio.move_on_after(0.01) as scope:
            blocking(bridgeio.sleep_forever)()
        assert scope.cancelled_caught

    run(main)


@promise
def scopes_work_around_native_calls_in_any_greenlet() -> None:
    """A scope entered in a plain greenlet, outside any coroutine, ends its gevent calls."""

    def plain() -> bool:
        with bridgeio.move_on_after(0.01) as scope:
            gevent.event.Event().wait()
        with bridgeio.CancelScope():
            gevent.sleep(0.001)
        return scope.cancelled_caught

    assert gevent.spawn(plain).get()
    gevent.get_hub()
    assert plain()


# spawn()


@promise
def spawn_gives_a_greenlet() -> None:
    """Results, errors, joinall, links, groups and pools: it is a gevent.Greenlet."""

    async def double(number: int) -> int:
        await bridgeio.sleep(0.001)
        return 2 * number

    async def fail() -> None:
        raise KeyError("mine")

    spawned = [bridgeio_gevent.spawn(double, number) for number in range(5)]
    assert gevent.joinall(spawned, timeout=5) is not None
    assert [one.get() for one in spawned] == [0, 2, 4, 6, 8]
    assert all(isinstance(one, gevent.Greenlet) for one in spawned)

    gevent.get_hub().NOT_ERROR += (KeyError,)
    assert isinstance(raised_by(bridgeio_gevent.spawn(fail).get), KeyError)

    pool = gevent.pool.Pool(2)
    for one in (bridgeio_gevent.spawn(double, 1), bridgeio_gevent.spawn(double, 2)):
        pool.add(one)
    assert pool.full()
    assert pool.map(blocking(double), range(4)) == [0, 2, 4, 6]
    pool.join()
    assert isinstance(raised_by(bridgeio_gevent.spawn, len, ()), TypeError)
    assert "leave out the ()" in str(raised_by(bridgeio_gevent.spawn, bridgeio.sleep(0)))


@promise
def a_kill_that_meets_a_failure_is_not_lost() -> None:
    """A group whose host is killed while a child fails raises the failure, and the kill at the next wait."""
    seen: list[str] = []

    async def child(entered: bridgeio.Event) -> None:
        entered.set()
        try:
            await bridgeio.sleep_forever()
        finally:
            raise ValueError("in cleanup")

    async def task(entered: bridgeio.Event) -> None:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(child, entered)
                await bridgeio.sleep_forever()
        except* ValueError:
            seen.append("failure")
        await bridgeio.sleep(0)
        seen.append("not reached")

    entered = bridgeio.Event()
    one = bridgeio_gevent.spawn(task, entered)
    gevent.sleep(0)
    blocking(entered.wait)()
    one.kill()
    assert seen == ["failure"]
    assert isinstance(one.value, GreenletExit)


@promise
def kill_before_the_first_step_cancels() -> None:
    """A task killed before it has started still starts, and is cancelled at its first wait."""
    seen: list[str] = []

    async def task() -> None:
        try:
            seen.append("started")
            await bridgeio.sleep(0)
        except GreenletExit:
            seen.append("cancelled")
            raise

    kills: list[Callable[[Any], object]] = [
        lambda one: one.kill(),
        lambda one: gevent.killall([one]),
        lambda one: gevent.pool.Group([one]).kill(),
    ]
    for kill in kills:
        one = bridgeio_gevent.spawn(task)
        kill(one)
        assert isinstance(one.get(), GreenletExit), (one, seen)
        assert one.successful()
        assert seen == ["started", "cancelled"], seen
        seen.clear()


@promise
def kill_with_another_class_is_gevents() -> None:
    """Before the start the function never runs, and its coroutine is closed; in a wait it is that error."""
    gevent.get_hub().NOT_ERROR += (KeyError,)
    reached: list[BaseException] = []

    async def task() -> None:
        try:
            await bridgeio.sleep_forever()
        except BaseException as error:
            reached.append(error)
            raise

    one = bridgeio_gevent.spawn(task)
    one.kill(KeyError)
    assert isinstance(raised_by(one.get), KeyError)
    assert reached == []

    one = bridgeio_gevent.spawn(task)
    gevent.sleep(0)
    one.kill(KeyError)
    assert isinstance(raised_by(one.get), KeyError)
    assert [type(error) for error in reached] == [KeyError]
    gc.collect()


@promise
def kill_in_a_wait_and_in_cleanup() -> None:
    """A kill cancels the wait; a second one does not disturb shielded cleanup; kill() waits for it."""
    seen: list[object] = []

    async def task() -> None:
        try:
            await bridgeio.sleep_forever()
        except GreenletExit as error:
            seen.append(type(error))
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.02)
                seen.append("cleaned")
            await bridgeio.sleep(0)
            seen.append("not reached")

    one = bridgeio_gevent.spawn(task)
    gevent.sleep(0)
    one.kill(block=False)
    natively_until(lambda: seen)
    one.kill()
    assert issubclass(seen[0], GreenletExit)  # type: ignore[arg-type]
    assert seen[1:] == ["cleaned"]
    assert one.ready()


@promise
def kill_ends_children_first() -> None:
    """Killing a task ends the children of its group before it goes on: with ours, and with gevent's own."""

    async def child(order: list[str]) -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.005)
            order.append("child")

    async def parent(order: list[str]) -> None:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(child, order)
                group.start_soon(child, order)
        finally:
            order.append("parent")

    for start in (bridgeio_gevent.spawn, lambda function, order: gevent.spawn(blocking(function), order)):
        order: list[str] = []
        one = start(parent, order)
        gevent.sleep(0.002)
        one.kill()
        assert order == ["child", "child", "parent"], order
        assert isinstance(one.value, GreenletExit), one.value
