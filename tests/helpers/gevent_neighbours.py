"""Promises about what gevent's own facilities and ours do to each other, greenlet by greenlet."""

from __future__ import annotations

import contextvars
import socket
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import gevent.lock
import gevent.pool
import gevent.queue
import gevent.socket
from greenlet import GreenletExit

import bridgeio
import bridgeio_gevent
from bridgeio import blocking
from gevent_promises import natively_until, promise, raised_by, run, until

__all__: list[str] = []  # `gevent_promises.PROMISES` has them

# gevent's waits inside our scopes


@promise
def a_scope_ends_every_kind_of_native_wait() -> None:
    """Events, results, queues, locks, greenlets, pools, sockets: a deadline ends the wait once, and takes nothing."""

    async def main() -> None:
        queue: Any = gevent.queue.Queue()
        full: Any = gevent.queue.Queue(1)
        full.put("first")
        semaphore, lock = gevent.lock.Semaphore(0), gevent.lock.RLock()
        gevent.spawn(lock.acquire).join()
        sleeper = gevent.spawn(gevent.sleep, 60)
        pool = gevent.pool.Pool(1)
        pool.spawn(gevent.sleep, 60)
        one, other = gevent.socket.socketpair()
        waits: list[Callable[[], object]] = [
            gevent.event.Event().wait,
            gevent.event.AsyncResult().get,
            queue.get,
            lambda: full.put("second"),
            semaphore.acquire,
            lock.acquire,
            sleeper.join,
            sleeper.get,
            pool.join,
            lambda: pool.spawn(gevent.sleep, 0),
            lambda: gevent.joinall([sleeper]),
            lambda: list(gevent.iwait([sleeper])),
            lambda: one.recv(1),
        ]
        for wait in waits:
            ended = []
            with bridgeio.move_on_after(0.002) as scope:
                try:
                    wait()
                except GreenletExit as error:
                    ended.append(error)
                    gevent.sleep(0.001)
                    raise
            assert scope.cancelled_caught, wait
            assert len(ended) == 1, wait
        assert not sleeper.ready()
        queue.put("item")
        assert queue.get_nowait() == "item"
        assert list(full.queue) == ["first"]
        semaphore.release()
        assert semaphore.acquire(blocking=False)
        other.send(b"x")
        assert one.recv(1) == b"x"
        sleeper.kill()
        pool.kill()
        one.close()
        other.close()

    run(main)


@promise
def sockets_beside_streams() -> None:
    """One task talks over a gevent socket and over one of our streams, in turns, to the same server."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        while line := await reader.readline():
            writer.write(line)

    async def main() -> None:
        async with bridgeio.serve(handler, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            with gevent.socket.create_connection(("127.0.0.1", server.port)) as sock:
                for number in range(5):
                    sock.sendall(b"native %d\n" % number)
                    writer.write(b"ours %d\n" % number)
                    assert sock.recv(100) == b"native %d\n" % number
                    assert await reader.readline() == b"ours %d\n" % number
            writer.close()

    run(main)


# gevent.Timeout around and inside ours


@promise
def the_hubs_resolver_answers_all_questions() -> None:
    """For streams, for datagrams, and for the names of addresses; a cancel ends the last, too."""

    class Resolver:
        def getaddrinfo(self, host: str, port: int, *how: int) -> object:
            asked.append((host, port, *how))
            return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))]

        def getnameinfo(self, address: object, flags: int) -> object:
            asked.append((address, flags))
            if flags:
                gevent.sleep(60)
            return "name.test", "echo"

        def close(self) -> None:
            """The hub closes its resolver when it is destroyed."""

    asked: list[tuple[object, ...]] = []

    async def main() -> None:
        hub: Any = gevent.get_hub()
        hub.resolver = Resolver()
        async with await bridgeio.create_connected_udp_socket("bücher.test", 7) as udp:
            assert udp.get_extra_info("peername") == ("127.0.0.1", 7)
        assert await bridgeio.getnameinfo(("127.0.0.1", 7)) == ("name.test", "echo")
        with bridgeio.move_on_after(0.01) as scope:
            await bridgeio.getnameinfo(("127.0.0.1", 7), 1)
        assert scope.cancelled_caught

    run(main)
    assert asked == [
        ("xn--bcher-kva.test", 7, 0, socket.SOCK_DGRAM, 0, 0),
        (("127.0.0.1", 7), 0),
        (("127.0.0.1", 7), 1),
    ]


@promise
def timeouts_nest_with_scopes() -> None:
    """Whichever is due first ends the wait, and is absorbed where it belongs; the other one is not met later."""

    async def main() -> None:
        silent: Any = False
        with bridgeio.move_on_after(60) as outer, gevent.Timeout(0.002, silent):
            await bridgeio.sleep_forever()
        assert not outer.cancelled_caught
        with gevent.Timeout(60), bridgeio.move_on_after(0.002) as inner:
            await bridgeio.sleep_forever()
        assert inner.cancelled_caught
        with bridgeio.move_on_after(0.002) as outer, gevent.Timeout(60):
            gevent.sleep(60)
        assert outer.cancelled_caught
        with bridgeio.CancelScope(shield=True), gevent.Timeout(0.002, silent):
            await bridgeio.sleep_forever()  # a shield keeps our scopes out, not gevent
        await bridgeio.sleep(0.005)

    run(main)


@promise
def a_timeout_ends_children_first() -> None:
    """A gevent.Timeout around a group comes out when the children's cleanup is over."""
    seen: list[str] = []

    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.005)
            seen.append("child")

    async def main() -> None:
        try:
            with gevent.Timeout(0.002):
                async with bridgeio.create_task_group() as group:
                    group.start_soon(child)
        except gevent.Timeout:
            seen.append("timeout")

    run(main)
    assert seen == ["child", "timeout"]


# Kills


@promise
def a_kill_reaches_a_busy_task() -> None:
    """A task that never has to wait, and only gives way, is ended by a kill all the same."""
    turns: list[int] = []

    async def checkpoints() -> None:
        while True:
            turns.append(1)
            await bridgeio.lowlevel.checkpoint()

    async def events() -> None:
        event = bridgeio.Event()
        event.set()
        while True:
            turns.append(1)
            await event.wait()

    for busy in (checkpoints, events):
        for one in (gevent.spawn(blocking(busy)), bridgeio_gevent.spawn(busy)):
            turns.clear()
            natively_until(lambda: len(turns) > 2)
            one.kill(timeout=10)
            assert one.ready(), busy
            assert isinstance(one.value, GreenletExit)


@promise
def kill_blocks_only_when_asked_to() -> None:
    """``block=False`` returns at once; a later ``join`` waits for the cleanup; two kills in cleanup change nothing."""
    seen: list[str] = []

    async def task() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.01)
                gevent.sleep(0.001)
            seen.append("clean")

    one = bridgeio_gevent.spawn(task)
    gevent.sleep(0.001)
    for _ in range(2):
        one.kill(block=False)
        assert seen == []
    one.kill(block=False)
    one.join(timeout=10)
    assert seen == ["clean"]
    assert one.successful()


# The Greenlet that spawn() returns


@promise
def spawn_returns_a_whole_greenlet() -> None:
    """``get(timeout=)``, ``ready``, ``exception``, links, ``iwait``, groups: as of any `gevent.Greenlet`."""

    async def sleep(seconds: float) -> float:
        await bridgeio.sleep(seconds)
        return seconds

    async def fail() -> None:
        await bridgeio.sleep(0)
        raise KeyError("mine")

    gevent.get_hub().NOT_ERROR += (KeyError,)
    slow = bridgeio_gevent.spawn(sleep, 60)
    assert isinstance(raised_by(lambda: slow.get(timeout=0.002)), gevent.Timeout)
    assert isinstance(raised_by(lambda: slow.get(block=False)), gevent.Timeout)
    assert not slow.ready()
    assert slow.exception is None

    linked: list[Any] = []
    failing = bridgeio_gevent.spawn(fail)
    failing.link_exception(linked.append)
    failing.link_value(lambda _: linked.append("value"))
    failing.join()
    natively_until(lambda: linked)
    assert linked == [failing]
    assert isinstance(failing.exception, KeyError)
    assert not failing.successful()

    quick = [bridgeio_gevent.spawn(sleep, 0.001 * number) for number in (3, 1, 2)]
    values: list[Any] = [one.value for one in gevent.iwait(quick)]
    assert sorted(values) == [0.001, 0.002, 0.003]
    group = gevent.pool.Group([slow, bridgeio_gevent.spawn(sleep, 60)])
    group.kill(timeout=10)
    assert isinstance(slow.value, GreenletExit)
    assert not group


# Contexts


@promise
def a_greenlets_own_context_is_kept() -> None:
    """A greenlet that calls `blocking` keeps its variables, children get copies, and nothing of ours is left in it."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    async def child() -> None:
        seen.append(variable.get())
        variable.set("child's")

    async def task() -> None:
        seen.append(variable.get())
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
        await until(lambda: len(seen) % 2 == 0)
        variable.set("task's")

    def native() -> None:
        variable.set("greenlet's")
        before = dict(contextvars.copy_context())
        blocking(task)()
        assert variable.get() == "task's"  # it is a call: what it sets stays
        variable.set("greenlet's")
        after = dict(contextvars.copy_context())
        assert {one.name for one in after.keys() - before.keys()} <= {"bridgeio_task", "current_async_library_cvar"}

    for _ in range(2):
        one = gevent.spawn(native)
        one.get()
    assert seen == ["greenlet's"] * 4
    assert variable.get() == "unset"
