"""Trio, run by bridgeio or found running: detection, runs, peers and interrupts."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

import bridgeio
from bridgeio.contract import CURRENT, never
from bridgeio.registry import current_task
from echoing import ask, echo, echo_round

T = TypeVar("T")


def descriptors() -> set[str]:
    """The open descriptors, by what they stand for."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except FileNotFoundError:
            continue  # the one that lists
    return found


# Detection


async def with_guest(trio_main: Callable[[], Awaitable[T]], beside: Callable[[], Awaitable[None]]) -> T:
    """Runs Trio as a guest of the running asyncio loop, awaits ``beside`` on asyncio, then Trio's result."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    trio.lowlevel.start_guest_run(
        trio_main, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=done.set_result
    )
    try:
        await beside()
    finally:
        outcome = await done
    result: T = outcome.unwrap()
    return result


def test_in_guest_mode_each_task_is_in_its_own_world() -> None:
    """Code in a Trio task is on Trio, code in an asyncio task of the same thread is on asyncio, and they can talk."""

    async def main() -> list[str]:
        serving: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asked = trio.Event()
        seen = []

        async def on_trio() -> None:
            async with bridgeio.serve(echo, "127.0.0.1") as server:
                seen.append(bridgeio.current_backend())
                serving.set_result(server.port)
                await asked.wait()
                seen.append(bridgeio.current_backend())

        async def on_asyncio() -> None:
            port = await serving
            seen.append(bridgeio.current_backend())
            assert await ask(port, b"over the fence") == b"over the fence"
            seen.append(bridgeio.current_backend())
            asked.set()

        await with_guest(on_trio, on_asyncio)
        return seen

    assert asyncio.run(main()) == ["trio", "asyncio", "asyncio", "trio"]


def test_an_asyncio_task_that_a_trio_guest_starts_is_on_asyncio() -> None:
    """It inherits the context of the Trio task, and with it our variable, which must not be believed."""

    async def main() -> str:
        async def which() -> str:
            await asyncio.sleep(0)
            return bridgeio.current_backend()

        async def on_trio() -> asyncio.Task[str]:
            assert bridgeio.current_backend() == "trio"
            assert CURRENT.get() is not None
            return asyncio.get_running_loop().create_task(which())

        return await (await with_guest(on_trio, lambda: asyncio.sleep(0)))

    assert asyncio.run(main()) == "asyncio"


def test_a_callback_of_the_guests_host_is_outside_any_task() -> None:
    """Between Trio's turns there is a Trio run in this thread, but no Trio task to be taken for."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[BaseException] = loop.create_future()
        heard = trio.Event()

        def callback() -> None:
            with pytest.raises(bridgeio.NoBackendError) as caught:
                bridgeio.current_backend()
            told.set_result(caught.value)

        async def on_trio() -> None:
            assert bridgeio.current_backend() == "trio"
            loop.call_soon(callback)
            await heard.wait()

        async def beside() -> None:
            assert "callback" in str(await told)
            heard.set()

        await with_guest(on_trio, beside)

    asyncio.run(main())


def test_detection_does_not_import_trio(tmp_path: Path) -> None:
    """Asking where we are must cost nobody the import of a framework."""
    code = f"""
import sys
sys.path[:] = {sys.path!r}
import bridgeio
try:
    bridgeio.current_backend()
except bridgeio.NoBackendError:
    print("trio" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_task_has_one_record_as_long_as_it_lives() -> None:
    """The same record at each call, in another context too; and nothing of it is left when the task has ended."""

    async def main() -> None:
        refs: list[weakref.ref[object]] = []

        async def child() -> None:
            record = current_task()
            assert record is current_task()
            assert contextvars.Context().run(current_task) is record
            assert record is not parent
            refs.append(weakref.ref(record))

        parent = current_task()
        gc.collect()
        gc.disable()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
            assert refs[0]() is None
        finally:
            gc.enable()

    trio.run(main)


# Inside an application that Trio runs already


def test_everything_works_in_a_run_that_bridgeio_did_not_start() -> None:
    """Directly in trio.run's main task, and in a child of a foreign nursery."""

    async def main() -> None:
        await echo_round()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo_round)
            nursery.start_soon(echo_round)
        with pytest.raises(TimeoutError), bridgeio.fail_after(0.001):
            await bridgeio.sleep_forever()

    trio.run(main)


def test_many_runs_leave_no_descriptor_behind() -> None:
    """Ten runs of Trio's and ten of ours: each host closes its poller when its run ends."""
    trio.run(echo_round)
    before = descriptors()
    for _ in range(10):
        trio.run(echo_round)
        bridgeio.run(echo_round, backend="trio")
    assert descriptors() == before


def test_a_run_that_fails_leaves_no_descriptor_behind() -> None:
    """Streams that are open when the main task fails do not keep the poller."""

    async def fail() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            _, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                raise LookupError

    with pytest.raises(LookupError):
        bridgeio.run(fail, backend="trio")
    before = descriptors()
    with pytest.raises(LookupError):
        bridgeio.run(fail, backend="trio")
    assert descriptors() == before


def test_a_second_run_in_the_same_thread_is_refused() -> None:
    """Inside a Trio task, and beside a guest run, Trio is busy here, and we say so before it does."""

    async def nothing() -> None:
        raise AssertionError("must not start")

    async def main() -> None:
        with pytest.raises(bridgeio.BackendBusyError, match="already running"):
            bridgeio.run(nothing, backend="trio")
        with pytest.raises(RuntimeError, match="to_thread"):
            bridgeio.blocking(nothing)()

    bridgeio.run(main, backend="trio")


def test_trio_options_are_passed_through_and_others_refused() -> None:
    """``backend_options`` are those of trio.run; a word it does not know is a TypeError."""

    async def what_time() -> float:
        return bridgeio.current_time()

    clock = trio.testing.MockClock()
    clock.jump(1000)
    assert 1000 <= bridgeio.run(what_time, backend="trio", backend_options={"clock": clock}) < 1001
    with pytest.raises(TypeError, match="loop_factory"):
        bridgeio.run(what_time, backend="trio", backend_options={"loop_factory": None})


# Streams


def test_a_trio_client_talks_to_our_server() -> None:
    """Trio's SocketStream on the other end, in the same run, half-close included."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with stream:
                await stream.send_all(b"native " * 10_000)
                await stream.send_eof()
                got = b"".join([chunk async for chunk in stream])
            assert got == b"native " * 10_000

    trio.run(main)


def test_our_client_talks_to_a_trio_server() -> None:
    """Against trio.serve_tcp, in the same run, half-close included."""

    async def native_echo(stream: trio.SocketStream) -> None:
        async for chunk in stream:
            await stream.send_all(chunk)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, native_echo, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            assert await ask(port, b"ours " * 10_000) == b"ours " * 10_000
            nursery.cancel_scope.cancel()

    trio.run(main)


# KeyboardInterrupt


def interrupt_main_when_it_waits(nursery: trio.Nursery) -> None:
    """Has SIGINT arrive where Trio cannot raise it in place, so that it comes up in the main task's wait."""

    @trio.lowlevel.enable_ki_protection
    async def interrupt() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)

    nursery.start_soon(interrupt)


def test_keyboard_interrupt_comes_out_of_our_run() -> None:
    """Out of a wait of ours, through groups, as itself; and the next run is none the worse for it."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server, trio.open_nursery() as nursery:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                interrupt_main_when_it_waits(nursery)
                await reader.read()

    with pytest.raises(KeyboardInterrupt):
        bridgeio.run(main, backend="trio")
    bridgeio.run(echo_round, backend="trio")


def test_keyboard_interrupt_waits_for_a_wait_that_cannot_be_taken_back() -> None:
    """``abort`` said no: the wait goes on, and the interrupt comes at the next checkpoint."""
    steps = []

    async def main() -> None:
        record = current_task()

        async def wake_late() -> None:
            await trio.testing.wait_all_tasks_blocked(0.01)
            record.wake()

        async with trio.open_nursery() as nursery:
            interrupt_main_when_it_waits(nursery)
            nursery.start_soon(wake_late)
            await record.park(never)
            steps.append("went on")
            await bridgeio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        bridgeio.run(main, backend="trio")
    assert steps == ["went on"]


def test_keyboard_interrupt_does_not_strike_between_park_and_trap() -> None:
    """A task that is marked as parked, and is not, would break Trio at its next wake-up."""

    async def main() -> bool:
        park = current_task().park(lambda: True)
        protected = []

        def probe(frame: Any, event: str, argument: Any) -> None:
            if event == "call" and frame.f_code.co_name == "park":
                protected.append(trio.lowlevel.currently_ki_protected())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake, current_task())
            sys.setprofile(probe)
            try:
                await park
            finally:
                sys.setprofile(None)
        return all(protected) and bool(protected)

    async def wake(record: Any) -> None:
        record.wake()

    assert trio.run(main)
