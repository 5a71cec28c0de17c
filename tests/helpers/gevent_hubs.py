"""Promises about hubs: what keeps them, runs on them, and how they are found."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import sys
from functools import partial
from typing import Any

import gevent
import gevent.event
import gevent.os
import gevent.pool
import gevent.server
import gevent.socket
from gevent.monkey import is_module_patched

import bridgeio
import bridgeio_gevent
from bridgeio import blocking
from bridgeio.registry import current_host, current_task
from bridgeio.testing.resources import open_descriptors
from bridgeio.unpatched import original
from gevent_promises import (
    ask,
    connect,
    echo,
    live_hub,
    native_server,
    natively_until,
    promise,
    raised_by,
    run,
    start_thread,
    until,
)

__all__: list[str] = []  # `gevent_promises.PROMISES` has them


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
