"""Promises about waits: what gevent throws into ours, what we throw into gevent's, and what tasks rely on."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import socket
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
from bridgeio.unpatched import original
from gevent_promises import (
    native_server,
    natively_until,
    promise,
    raised_by,
    run,
    start_thread,
    until,
)

__all__: list[str] = []  # `gevent_promises.PROMISES` has them


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
            scopes[0].deadline = bridgeio.current_time()
            gevent.sleep(60)
            raise AssertionError

        def close(self) -> None:
            """The hub closes its resolver when it is destroyed."""

    asked: list[tuple[object, ...]] = []
    scopes: list[bridgeio.CancelScope] = []

    async def main() -> None:
        hub: Any = gevent.get_hub()
        before, hub.resolver = hub._resolver, Slow()
        with bridgeio.CancelScope() as scope:
            scopes.append(scope)
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
