"""What the gevent adapter promises: each function keeps one promise, in a process that may be patched.

Patching cannot be taken back, and the main greenlet's hub is the thread's for good, so `test_gevent`
calls each in a process of its own, plain or patched, through `keep`. The docstring is the promise.
"""

from __future__ import annotations

import asyncio
import contextvars
import faulthandler
import gc
import os
import signal
import socket
import sys
import warnings
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import gevent
import gevent.event
import gevent.os
import gevent.pool
import gevent.server
import gevent.socket
import sniffio
from gevent.monkey import is_module_patched
from greenlet import GreenletExit, getcurrent

import bridgeio
import bridgeio_gevent
from bridgeio import blocking
from bridgeio.registry import current_host, current_task
from bridgeio.testing.resources import open_descriptors
from bridgeio.unpatched import original

PROMISES: dict[str, Callable[[], object]] = {}

run = partial(bridgeio.run, backend="gevent")
connect = blocking(bridgeio.open_connection)
start_thread = original("_thread", "start_new_thread")


def promise(function: Callable[[], object]) -> Callable[[], object]:
    PROMISES[function.__name__] = function
    return function


def keep(name: str) -> None:
    """The whole program of one process."""
    faulthandler.dump_traceback_later(25, exit=True)
    warnings.simplefilter("error")
    PROMISES[name]()


async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def native_echo(sock: Any, _: object) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


def native_server() -> Any:
    server = gevent.server.StreamServer(("127.0.0.1", 0), native_echo)
    server.start()
    return server


async def ask(port: int, question: bytes) -> bytes:
    reader, writer = await bridgeio.open_connection("127.0.0.1", port)
    async with writer:
        writer.write(question)
        writer.write_eof()
        return await reader.read()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await bridgeio.sleep(0.001)


def natively_until(condition: Callable[[], object]) -> None:
    while not condition():
        gevent.sleep(0.001)


def raised_by(function: Callable[..., object], *args: object) -> BaseException:
    try:
        result = function(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{function!r} raised nothing, it returned {result!r}")


def live_hub() -> Any:
    from gevent._hub_local import get_hub_if_exists

    return get_hub_if_exists()


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


# What gevent throws


@promise
def a_timeout_passes_as_itself() -> None:
    """gevent.Timeout comes out of our waits, and out of task groups, as the object it is."""

    async def main() -> None:
        silent: Any = False  # gevent's word for a Timeout that its own block absorbs
        with gevent.Timeout(0.01, silent):
            await bridgeio.sleep_forever()
        for also in (bridgeio.sleep_forever, nothing):  # the body waits, or the group does, for its child
            timeout = gevent.Timeout(0.01)
            assert await thrown_into_a_group(timeout, also) is timeout

    async def nothing() -> None: ...

    async def thrown_into_a_group(timeout: gevent.Timeout, also: Callable[[], Any]) -> object:
        try:
            with timeout:
                async with bridgeio.create_task_group() as group:
                    group.start_soon(bridgeio.sleep_forever)
                    await also()
        except gevent.Timeout as error:
            return error
        raise AssertionError("it was swallowed")

    run(main)


@promise
def a_scope_does_not_swallow_a_kill() -> None:
    """A cancelled scope absorbs its own cancellation, and lets a kill that comes in the cleanup through."""

    async def task() -> str:
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            try:
                await bridgeio.sleep(0)
            finally:
                cleaning.append(None)
                gevent.sleep(60)
        return "swallowed"

    cleaning: list[None] = []
    one = gevent.spawn(blocking(task))
    natively_until(lambda: cleaning)
    one.kill()
    assert type(one.get()) is GreenletExit, one.get()


@promise
def a_result_that_came_first_is_not_lost() -> None:
    """Woken and killed in one turn: the wait has its result, and the kill comes at the next wait, once."""
    seen: list[str] = []

    async def task(event: bridgeio.Event) -> None:
        await event.wait()
        seen.append("result")
        try:
            await bridgeio.sleep(0.01)
        except GreenletExit:
            seen.append("killed")
        await bridgeio.sleep(0.001)
        seen.append("went on")

    event = bridgeio.Event()
    one = gevent.spawn(blocking(task), event)
    gevent.sleep(0.002)

    def both() -> None:
        event.set()
        one.throw(GreenletExit)

    gevent.get_hub().loop.run_callback(both)
    one.get()
    assert seen == ["result", "killed", "went on"]


@promise
def a_kill_that_was_kept_reaches_native_code() -> None:
    """If the blocking call ends before the kill that it kept could be raised, the greenlet's next wait has it."""
    seen: list[str] = []

    def victim(event: bridgeio.Event) -> None:
        blocking(event.wait)()
        seen.append("result")
        gevent.sleep(5)
        seen.append("survived")

    event = bridgeio.Event()
    one = gevent.spawn(victim, event)
    gevent.sleep(0.002)

    def both() -> None:
        event.set()
        one.throw(GreenletExit)

    gevent.get_hub().loop.run_callback(both)
    assert isinstance(one.get(), GreenletExit)
    assert seen == ["result"]


@promise
def a_stray_switch_confuses_nobody() -> None:
    """Somebody switches into a greenlet that waits for us: it goes on waiting."""

    async def main() -> None:
        woken: list[float] = []

        async def sleeper() -> None:
            greenlets.append(getcurrent())
            await bridgeio.sleep(0.03)
            woken.append(bridgeio.current_time())

        greenlets: list[Any] = []
        start = bridgeio.current_time()
        async with bridgeio.create_task_group() as group:
            group.start_soon(sleeper)
            await until(lambda: greenlets)
            for _ in range(5):
                gevent.get_hub().loop.run_callback(greenlets[0].switch, "stray")
                await bridgeio.sleep(0.001)
        assert woken[0] - start >= 0.03

    run(main)


# Native waits of tasks


@promise
def a_scope_ends_a_native_wait_once() -> None:
    """A task in a gevent call gets its cancel there, once: its cleanup may block in gevent calls again."""

    def cancel_twice(scope: bridgeio.CancelScope) -> None:
        scope.cancel()
        scope.cancel()

    async def main() -> None:
        one, other = gevent.socket.socketpair()
        for wait in (partial(gevent.sleep, 60), gevent.event.Event().wait, partial(one.recv, 1)):
            cleaned = 0
            with bridgeio.CancelScope() as scope:
                gevent.spawn_later(0.01, cancel_twice, scope)
                try:
                    wait()
                finally:
                    for _ in range(3):
                        gevent.sleep(0.001)
                        cleaned += 1
            assert scope.cancelled_caught
            assert cleaned == 3
        one.close()
        other.close()

    run(main)


@promise
def a_native_wait_begun_under_a_cancel_is_ended() -> None:
    """A gevent call that begins when its scope is cancelled already ends, also one behind a shield that is left."""

    async def main() -> None:
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            gevent.sleep(60)
        assert scope.cancelled_caught
        with bridgeio.CancelScope() as scope:
            with bridgeio.CancelScope(shield=True):
                scope.cancel()
                gevent.sleep(0.001)
                await bridgeio.sleep(0.001)
            gevent.sleep(60)
        assert scope.cancelled_caught

    run(main)


@promise
def a_second_cancel_ends_the_next_native_wait() -> None:
    """Native code that swallowed the cancel holds its scope up, until an explicit second cancel()."""

    async def main() -> None:
        swallowed: list[BaseException] = []

        async def stubborn() -> None:
            for _ in range(2):
                try:
                    gevent.sleep(60)
                except GreenletExit as error:
                    swallowed.append(error)

        async with bridgeio.create_task_group() as group:
            group.start_soon(stubborn)
            await bridgeio.sleep(0.001)
            for heard in (1, 2):
                group.cancel_scope.cancel()
                with bridgeio.CancelScope(shield=True):
                    await until(lambda: len(swallowed) == heard)  # noqa: B023
        assert len(swallowed) == 2

    run(main)


@promise
def foreign_awaitables_are_refused() -> None:
    """Awaiting what belongs to another framework is a TypeError at that await, and the task lives on."""

    async def main() -> str:
        loop = asyncio.new_event_loop()
        for foreign in (asyncio.sleep(0), loop.create_future()):
            refusals.append(str(await refused(foreign)))
        assert all("bridgeio's functions" in refusal for refusal in refusals)
        loop.close()
        await bridgeio.sleep(0.001)
        return "lives"

    async def refused(foreign: Any) -> TypeError:
        try:
            await foreign
        except TypeError as error:
            return error
        raise AssertionError("it was awaited")

    refusals: list[str] = []
    assert run(main) == "lives"


@promise
def a_cancelled_lookup_holds_nobody() -> None:
    """The name is asked of gevent's own resolver: others run meanwhile, and a cancel ends the wait."""

    class Slow:
        def getaddrinfo(self, *args: object) -> object:
            asked.append(args[:2])
            gevent.sleep(60)
            raise AssertionError

        def close(self) -> None:
            """The hub closes its resolver when it is destroyed."""

    asked: list[tuple[object, ...]] = []

    async def main() -> None:
        hub: Any = gevent.get_hub()
        before, hub.resolver = hub._resolver, Slow()
        with bridgeio.move_on_after(0.02) as scope:
            await bridgeio.open_connection("name.test", 7)
        assert scope.cancelled_caught
        assert asked == [("name.test", 7)]
        hub.resolver = before
        with bridgeio.fail_after(10):
            _, writer = await bridgeio.open_connection("localhost", native.server_port)
            writer.close()
        native.stop()

    native = native_server()
    run(main)


# The hub


@promise
def waiting_for_the_hub_returns() -> None:
    """gevent.wait() returns when our tasks have ended, whatever is open, and whatever deadline was left."""
    server = native_server()
    connection = connect("127.0.0.1", server.server_port)

    async def task() -> None:
        with bridgeio.fail_after(3600):
            await bridgeio.sleep(0.01)
        ended.append(None)

    def plain() -> None:
        with bridgeio.fail_after(3600):
            gevent.sleep(0.001)

    ended: list[None] = []
    bridgeio_gevent.spawn(task)
    gevent.spawn(plain)
    server.stop()
    assert gevent.wait(timeout=10)
    assert ended == [None]
    connection[1].abort()


@promise
def a_waiting_task_keeps_the_hub() -> None:
    """While a task waits for what only a thread can bring, the idle hub does not end with LoopExit."""

    async def main() -> None:
        host, event = current_host(), bridgeio.Event()

        def from_thread() -> None:
            original("time", "sleep")(0.03)
            host.call_soon_threadsafe(event.set)

        start_thread(from_thread, ())
        await event.wait()

    run(main)
    bridgeio_gevent.spawn(main)
    assert gevent.wait(timeout=10)


@promise
def a_deadline_keeps_the_hub() -> None:
    """A deadline around a gevent call that nobody will end comes, instead of LoopExit."""

    async def main() -> None:
        with bridgeio.move_on_after(0.02) as scope:
            gevent.event.Event().wait()
        assert scope.cancelled_caught

    run(main)
    gevent.get_hub()
    blocking(main)()


@promise
def a_thread_is_told_that_the_run_is_over() -> None:
    """call_soon_threadsafe raises RuntimeError when the host has ended."""

    async def main() -> Any:
        return current_host()

    host = run(main)
    assert isinstance(raised_by(host.call_soon_threadsafe, print), RuntimeError)


@promise
def busy_tasks_are_fair() -> None:
    """Tasks that always have something to do leave the hub its I/O and its timers."""

    async def main() -> None:
        stop = False

        async def busy() -> None:
            while not stop:
                await bridgeio.lowlevel.checkpoint()

        async def ping(event: bridgeio.Event, other: bridgeio.Event) -> None:
            while not stop:
                event.set()
                await other.wait()

        server = native_server()
        timers: list[None] = []
        native_timer = gevent.get_hub().loop.timer(0.001, 0.001)
        native_timer.start(timers.append, None)
        async with bridgeio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(busy)
            done, always = bridgeio.Event(), bridgeio.Event()
            always.set()
            group.start_soon(ping, done, always)
            with gevent.socket.create_connection(("127.0.0.1", server.server_port)) as sock:
                for _ in range(20):
                    sock.sendall(b"x")
                    assert sock.recv(1) == b"x"
            await until(lambda: len(timers) > 20)
            stop = True
        native_timer.close()
        server.stop()

    run(main)


@promise
def ten_runs_leave_nothing() -> None:
    """Again and again: no descriptor, no host, and in a plain process no hub stays behind."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            assert await ask(server.port, b"round") == b"round"

    run(main)
    before = len(open_descriptors())
    for _ in range(10):
        run(main)
    gc.collect()
    assert len(open_descriptors()) == before
    assert (live_hub() is None) == (not is_module_patched("socket"))
    assert sys.get_asyncgen_hooks().finalizer is None
    assert signal.set_wakeup_fd(-1) == -1


@promise
def in_turn_with_asyncio() -> None:
    """gevent and asyncio in turns in one process; each run is on its own framework."""

    async def main() -> str:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            await ask(server.port, b"round")
        return bridgeio.current_backend()

    assert [bridgeio.run(main, backend=name) for name in ["gevent", "asyncio"] * 3] == ["gevent", "asyncio"] * 3


@promise
def a_run_in_a_running_application() -> None:
    """In one greenlet of many, a run leaves the hub, the other greenlets and other runs alone."""
    turns: list[None] = []

    def application() -> None:
        while True:
            turns.append(None)
            gevent.sleep(0.001)

    others = gevent.spawn(application)
    server = native_server()
    hub = gevent.get_hub()
    lasting = connect("127.0.0.1", server.server_port)
    runs = [gevent.spawn(run, ask, server.server_port, b"%d" % number) for number in range(3)]
    assert [one.get() for one in runs] == [b"0", b"1", b"2"]
    assert gevent.get_hub() is hub
    assert hub.loop is not None
    so_far = len(turns)
    natively_until(lambda: len(turns) > so_far)
    lasting[1].write(b"lasts\n")
    assert blocking(lasting[0].readline)() == b"lasts\n"
    others.kill()
    server.stop()


@promise
def a_run_in_a_run_is_busy() -> None:
    """A task cannot start another run on gevent, and neither can a callback of the hub."""

    async def main() -> None:
        assert isinstance(raised_by(run, main), bridgeio.BackendBusyError)
        caught: list[BaseException] = []
        gevent.get_hub().loop.run_callback(lambda: caught.append(raised_by(run, main)))
        await until(lambda: caught)
        assert isinstance(caught[0], bridgeio.BackendBusyError)

    run(main)
    assert isinstance(raised_by(partial(run, main, backend_options={"unknown": 1})), TypeError)


@promise
def runs_in_threads() -> None:
    """Threads that are no greenlets run on hubs of their own, side by side, and leave no descriptor."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            for _ in range(20):
                assert await ask(server.port, b"round") == b"round"
        assert len(hubs) < 4
        hubs.append(gevent.get_hub())

    def thread() -> None:
        try:
            run(main)
        finally:
            over.append(live_hub())

    hubs: list[Any] = []
    over: list[object] = []
    run(main)  # imports make a hub in a patched process: they wait for a lock
    hubs.clear()
    before = open_descriptors()
    for _ in range(3):
        start_thread(thread, ())
    while len(over) < 3:
        original("time", "sleep")(0.005)
    assert len(set(map(id, hubs))) == 3
    assert over == [None] * 3, over
    assert len(open_descriptors()) == len(before), (before, open_descriptors())


@promise
def a_forked_child_starts_anew() -> None:
    """A child of a process with a live poller makes its own; the parent's sockets go on."""
    server = native_server()
    reader, writer = connect("127.0.0.1", server.server_port)
    writer.write(b"accepted\n")
    assert blocking(reader.readline)() == b"accepted\n"  # else the child might accept it
    child = gevent.os.fork_and_watch()
    if not child:
        try:
            assert isinstance(raised_by(blocking(reader.read), 1), bridgeio.StreamClosedError)
            assert blocking(ask)(server.server_port, b"from the child") == b"from the child"
            os._exit(0)
        finally:
            os._exit(1)
    assert gevent.os.waitpid(child, 0) == (child, 0)
    writer.write(b"parent\n")
    got = blocking(reader.readline)()
    assert got == b"parent\n", got
    server.stop()


# Detection


@promise
def where_we_are() -> None:
    """Neighbouring worlds: before a hub, with one, in its callbacks, in threads, in asyncio, in a child greenlet."""
    if is_module_patched("socket"):
        assert bridgeio.current_backend() == "gevent"  # patched: a gevent program, also before its first wait
    else:
        assert live_hub() is None
        assert isinstance(raised_by(bridgeio.current_backend), bridgeio.NoBackendError)
        assert live_hub() is None
    hub = gevent.get_hub()
    assert bridgeio.current_backend() == "gevent"
    assert gevent.spawn(bridgeio.current_backend).get() == "gevent"

    seen: list[Any] = []
    hub.loop.run_callback(lambda: seen.append(raised_by(bridgeio.current_backend)))
    hub.loop.run_callback(lambda: seen.append(raised_by(blocking(bridgeio.sleep), 0)))
    natively_until(lambda: len(seen) == 2)
    assert all(isinstance(error, bridgeio.NoBackendError) for error in seen), seen

    start_thread(lambda: seen.append(raised_by(bridgeio.current_backend)), ())
    natively_until(lambda: len(seen) == 3)
    assert isinstance(seen[2], bridgeio.NoBackendError)

    async def in_asyncio() -> str:
        return bridgeio.current_backend()

    assert asyncio.run(in_asyncio()) == "asyncio"


@promise
def a_child_greenlet_is_not_its_parent() -> None:
    """A greenlet that runs in a copy of a task's context is not taken for that task, while that waits natively."""

    async def main() -> None:
        def child() -> bool:
            return current_task() is parent

        parent = current_task()
        assert gevent.spawn(contextvars.copy_context().run, child).get() is False
        assert current_task() is parent

    run(main)


# What a task may rely on


@promise
def contexts_are_copied() -> None:
    """Tasks start in a copy of the caller's context, and sniffio tells the truth in them, and only there."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    async def task() -> tuple[str, str]:
        before = variable.get()
        variable.set("task's")
        return before, sniffio.current_async_library()

    async def main() -> None:
        variable.set("main's")
        assert bridgeio_gevent.spawn(task).get() == ("main's", "gevent")
        got: list[tuple[str, str]] = []

        async def child() -> None:
            got.append(await task())

        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
        assert got == [("main's", "gevent")]
        assert variable.get() == "main's"

    variable.set("program's")
    gevent.get_hub()
    run(main)
    assert variable.get() == "program's"
    assert blocking(task)() == ("program's", "gevent")
    assert isinstance(raised_by(sniffio.current_async_library), sniffio.AsyncLibraryNotFoundError)


@promise
def generators_are_finished_in_their_run() -> None:
    """An asynchronous generator that was dropped, or left at the end, is closed in its run, waits included."""
    closed: list[str] = []

    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await bridgeio.sleep(0.001)
            closed.append(f"{name} on {bridgeio.current_backend()}")

    async def main() -> None:
        async for _ in numbers("dropped"):
            break
        gc.collect()
        await until(lambda: closed)
        left.append(numbers("left"))
        await left[0].__anext__()

    left: list[Any] = []
    run(main)
    assert closed == ["dropped on gevent", "left on gevent"], closed


@promise
def tasks_that_are_left_end_with_their_run() -> None:
    """A greenlet of ours that still waits when the run's own hub ends is cancelled first, and cleans up."""
    if is_module_patched("socket"):
        return  # the hub is the program's there, and so is what runs on it
    cleaned: list[str] = []

    async def left() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.005)
            cleaned.append("left")

    async def main() -> None:
        bridgeio_gevent.spawn(left)
        gevent.spawn(blocking(left))
        await bridgeio.sleep(0.001)

    run(main)
    assert cleaned == ["left"] * 2


@promise
def ctrl_c_comes_out_of_run() -> None:
    """KeyboardInterrupt while the hub is asleep, and while a task is busy, comes out of run() after the cleanup."""
    pid = os.getpid()

    def soon() -> None:
        original("time", "sleep")(0.03)
        os.kill(pid, signal.SIGINT)

    async def asleep() -> None:
        start_thread(soon, ())
        try:
            await bridgeio.sleep_forever()
        finally:
            await bridgeio.sleep(0.001)
            cleaned.append("asleep")

    async def in_group() -> None:
        start_thread(soon, ())
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(bridgeio.sleep_forever)
        finally:
            cleaned.append("in group")

    async def busy() -> None:
        async def child() -> None:
            start_thread(soon, ())
            while True:
                await bridgeio.lowlevel.checkpoint()

        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
            group.start_soon(bridgeio.sleep_forever)

    async def leaves() -> None:
        raise SystemExit(3)

    async def leaving() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(leaves)
            group.start_soon(bridgeio.sleep_forever)

    cleaned: list[str] = []
    for main in (asleep, in_group, busy):
        assert isinstance(raised_by(run, main), KeyboardInterrupt), main
    assert cleaned == ["asleep", "in group"]
    assert isinstance(raised_by(run, leaving), SystemExit)


@promise
def signals_drain_a_server() -> None:
    """SIGTERM while the hub sleeps makes run_server drain, and return."""
    handled: list[bytes] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        handled.append(await reader.read(1))
        await bridgeio.current_server().closing.wait()
        writer.write(b"bye")

    def client(port: int) -> None:
        with original("socket", "socket")(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.connect(("127.0.0.1", port))
            sock.sendall(b"x")
            while not handled:
                original("time", "sleep")(0.005)
            os.kill(os.getpid(), signal.SIGTERM)
            answers.append(sock.recv(10))
            over.release()

    answers: list[bytes] = []
    over = original("_thread", "allocate_lock")()
    over.acquire()
    bridgeio.run_server(
        handler, "127.0.0.1", backend="gevent", on_started=lambda server: start_thread(client, (server.port,))
    )
    over.acquire()
    assert answers == [b"bye"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
