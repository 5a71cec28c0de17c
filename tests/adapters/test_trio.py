"""What is peculiar to Trio: its scopes and nurseries are the real thing, and ours are views of them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

import bridgeio
from bridgeio.contract import CURRENT, Handle, Host, Scope, never
from bridgeio.registry import current_host, current_task

T = TypeVar("T")


async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def ask(port: int, question: bytes) -> bytes:
    """A client of ours, on whatever backend it is awaited."""
    reader, writer = await bridgeio.open_connection("127.0.0.1", port)
    async with writer:
        writer.write(question)
        writer.write_eof()
        return await reader.read()


async def echo_round() -> None:
    async with bridgeio.serve(echo, "127.0.0.1") as server:
        assert await ask(server.port, b"round") == b"round"


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


# Cancellation, Trio's and ours


def test_trio_scope_ends_our_wait_and_takes_nothing() -> None:
    """A read that Trio cancels is taken back, and the next one gets what comes after."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                with trio.move_on_after(0.001) as scope:
                    await reader.readexactly(4)
                assert scope.cancelled_caught
                writer.write(b"late")
                assert await reader.readexactly(4) == b"late"

    trio.run(main)


def test_our_scope_ends_trio_waits() -> None:
    """Deadlines and cancel() of our scopes reach Trio's own calls, with Trio's own exception."""

    async def main() -> None:
        with bridgeio.move_on_after(0.001) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), bridgeio.fail_after(0.001):
            await trio.Event().wait()
        by_hand = bridgeio.CancelScope()
        by_hand.cancel("enough")
        with by_hand:
            with pytest.raises(trio.Cancelled):
                await trio.lowlevel.checkpoint()
            await trio.sleep_forever()  # level-triggered, as Trio's are
        assert by_hand.cancelled_caught
        assert bridgeio.get_cancelled_exc_class() is trio.Cancelled

    bridgeio.run(main, backend="trio")


def test_scopes_of_both_kinds_nest_as_one_tree() -> None:
    """Trio's deadline shows in ours, and a shield of ours keeps Trio's cancellation out."""

    async def main() -> None:
        with trio.CancelScope(deadline=trio.current_time() + 50) as outer, bridgeio.move_on_after(100) as inner:
            assert bridgeio.current_effective_deadline() == outer.deadline
            outer.cancel()
            assert bridgeio.current_effective_deadline() == -float("inf")
            with bridgeio.CancelScope(shield=True) as shield:
                await bridgeio.sleep(0.001)
                shield.shield = False
                await bridgeio.sleep(0)
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

    trio.run(main)


def test_waits_of_both_kinds_stand_side_by_side() -> None:
    """A function awaits Trio's events, threads and sleeps beside our streams."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                for number in range(3):
                    line = await trio.to_thread.run_sync(b"line %d\n".__mod__, number)
                    writer.write(line)
                    await trio.lowlevel.checkpoint()
                    assert await reader.readline() == line
                    await trio.lowlevel.checkpoint()

    bridgeio.run(main, backend="trio")


def test_a_wait_that_cannot_be_taken_back_goes_on_and_the_next_one_hears() -> None:
    """``abort`` said no: the wait ends by its wake-up, and Trio's cancellation comes at the next checkpoint."""

    async def main() -> None:
        record = current_task()
        steps = []

        async def wake_late() -> None:
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
                steps.append("woken")
                record.wake()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake_late)
            with trio.CancelScope() as scope:
                scope.cancel()
                await record.park(never)
                steps.append("went on")
                await bridgeio.sleep(0)
                steps.append("not reached")
            assert scope.cancelled_caught
        assert steps == ["woken", "went on"]

    trio.run(main)


def test_a_wake_that_nobody_waits_for_does_nothing() -> None:
    """Trio breaks if a task that runs, or that waits elsewhere, is rescheduled; late wake-ups are no such thing."""

    async def main() -> None:
        record = current_task()
        record.wake()
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(trio.Cancelled):
                await record.park(lambda: True)
            record.wake()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake_twice, record)
            await record.park(lambda: True)
            nursery.start_soon(wake_twice, record)
            await trio.sleep(0.001)

    async def wake_twice(record: Any) -> None:
        record.wake()
        record.wake()

    trio.run(main)


# Groups


def test_a_group_is_strict_on_every_run() -> None:
    """One failure comes out in an ExceptionGroup, also where the run was started in Trio's loose mode."""

    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(fail)

    with pytest.warns(trio.TrioDeprecationWarning), pytest.raises(ExceptionGroup) as caught:
        trio.run(main, strict_exception_groups=False)
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


def test_a_failure_of_the_block_is_told_once() -> None:
    """It stands in the group, and not a second time as what the group was raised in the course of."""

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.sleep_forever)
            raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        bridgeio.run(main, backend="trio")
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert caught.value.__context__ is None


def test_a_failure_of_a_group_is_forgotten_at_once() -> None:
    """No frame of ours keeps it in a circle: what it holds is freed before the garbage collector runs."""

    class BigError(Exception):
        pass

    async def fail() -> None:
        raise BigError

    async def main() -> weakref.ref[BaseException] | None:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(fail)
        except ExceptionGroup as caught:
            return weakref.ref(caught.exceptions[0])
        return None

    gc.collect()
    gc.disable()
    try:
        ref = bridgeio.run(main, backend="trio")
        assert ref is not None
        assert ref() is None
    finally:
        gc.enable()


def test_cancellations_do_not_come_out_of_a_group_in_a_group() -> None:
    """Block and children cancelled from outside: one plain Cancelled, which ``except`` finds."""

    async def main() -> None:
        with trio.CancelScope() as outer:
            try:
                async with bridgeio.create_task_group() as group:
                    group.start_soon(trio.sleep_forever)
                    group.start_soon(bridgeio.sleep_forever)
                    outer.cancel()
                    await trio.sleep_forever()
            except trio.Cancelled:
                raise
            except BaseException as error:
                pytest.fail(f"{error!r} hides the cancellation")
        assert outer.cancelled_caught

    trio.run(main)


def test_failures_come_out_without_the_cancellations_beside_them() -> None:
    """A child that fails while an outer scope is cancelled: its error, and no Cancelled, is in the group."""

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError

    async def cancel_outside(outer: trio.CancelScope) -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(fail_when_cancelled)
            await trio.testing.wait_all_tasks_blocked()
            outer.cancel()
            await trio.sleep_forever()

    async def main() -> None:
        with trio.CancelScope() as outer:
            with pytest.raises(ExceptionGroup) as caught:
                await cancel_outside(outer)
            assert [type(error) for error in caught.value.exceptions] == [LookupError]

    trio.run(main)


def test_our_groups_are_trio_nurseries() -> None:
    """A child of our group is a child of a nursery in Trio's own task tree, under its name."""

    async def main() -> None:
        parent = trio.lowlevel.current_task()

        async def child() -> None:
            native = trio.lowlevel.current_task()
            assert native.parent_nursery is not None
            assert native.parent_nursery.parent_task is parent
            assert native.name == current_task().name == "Ishmael"

        async with bridgeio.create_task_group() as group:
            group.start_soon(child, name="Ishmael")

    bridgeio.run(main, backend="trio")


def test_start_hands_over_what_the_child_says() -> None:
    """``task_status`` is Trio's: a server starts as a child, and is drained when its group is cancelled."""

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            server = await group.start(bridgeio.serve_task, echo, "127.0.0.1")
            assert await ask(server.port, b"there") == b"there"
            group.cancel_scope.cancel()
        assert server.closing.is_set()

    bridgeio.run(main, backend="trio")


def test_start_of_a_child_that_fails_leaves_the_group_alone() -> None:
    """Its error is raised where it was started, as it is; one that ends silently is a RuntimeError."""

    async def fail(*, task_status: bridgeio.TaskStatus[None]) -> None:
        raise LookupError

    async def end(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            with pytest.raises(LookupError):
                await group.start(fail)
            with pytest.raises(RuntimeError, match="started"):
                await group.start(end)
            group.start_soon(trio.sleep, 0)

    bridgeio.run(main, backend="trio")


def test_start_in_a_cancelled_scope_starts_nothing() -> None:
    """As every function of ours, ``start`` looks before it takes anything; Trio's looks after."""

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        pytest.fail("must not start")

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            with bridgeio.CancelScope() as scope:
                scope.cancel()
                await group.start(child)
            assert scope.cancelled_caught

    bridgeio.run(main, backend="trio")


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


# Time


def run_mocked(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs on a clock that jumps to the next deadline whenever nothing else can happen."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return bridgeio.run(main, backend="trio", backend_options={"clock": clock})


def test_our_sleeps_and_deadlines_follow_a_mock_clock() -> None:
    """An hour of ours passes at once: timers and scopes stand on Trio's deadlines."""

    async def main() -> list[int]:
        start = bridgeio.current_time()
        passed = []

        async def nap(seconds: float) -> None:
            await bridgeio.sleep(seconds)
            passed.append(round(bridgeio.current_time() - start))

        async with bridgeio.create_task_group() as group:
            for seconds in (3600, 60, 600):
                group.start_soon(nap, seconds)
        with pytest.raises(TimeoutError), bridgeio.fail_after(1000):
            await bridgeio.sleep_forever()
        passed.append(round(bridgeio.current_time() - start))
        return passed

    assert run_mocked(main) == [60, 600, 3600, 4600]


def test_a_deadline_of_ours_can_be_moved_while_trio_waits() -> None:
    """The deadline of an entered scope, and of a group's, is the deadline of Trio's scope underneath."""

    async def main() -> list[int]:
        start = bridgeio.current_time()
        passed = []
        with bridgeio.move_on_after(3600) as scope:
            async with bridgeio.create_task_group() as group:
                group.cancel_scope.deadline = start + 20
                scope.deadline = start + 30
                await trio.sleep_forever()
            passed.append(round(bridgeio.current_time() - start))
            await trio.sleep_forever()
        passed.append(round(bridgeio.current_time() - start))
        return passed

    assert run_mocked(main) == [20, 30]


def test_linger_follows_a_mock_clock() -> None:
    """A close whose peer reads nothing ends after ten seconds of the mock's."""

    async def main() -> float:
        let_go = bridgeio.Event()

        async def never_read(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
            await let_go.wait()

        async with bridgeio.serve(never_read, "127.0.0.1") as server:
            _, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            writer.write(bytes(16 * 1024 * 1024))
            start = bridgeio.current_time()
            writer.close()
            with pytest.raises(ConnectionAbortedError, match="linger"):
                await writer.wait_closed()
            passed = bridgeio.current_time() - start
            let_go.set()
        return passed

    assert round(run_mocked(main)) == 10


def test_a_timer_taken_back_does_not_hold_the_others_up() -> None:
    """Cancelled sleeps, earlier and later than the one that counts, change nothing for it."""

    async def main() -> float:
        start = bridgeio.current_time()
        async with bridgeio.create_task_group() as group:
            for seconds in (1, 200):
                with bridgeio.move_on_after(0.5):
                    await bridgeio.sleep(seconds)
            group.start_soon(bridgeio.sleep, 99)
        return bridgeio.current_time() - start

    assert round(run_mocked(main)) == 100


# The host


def test_callbacks_come_when_they_are_due_in_whatever_order_they_are_asked_for() -> None:
    """A later one does not put off an earlier one, and one that is taken back does not come at all."""

    async def main() -> list[str]:
        host = current_host()
        called: list[str] = []
        await trio.testing.wait_all_tasks_blocked()
        start = host.now()
        for seconds, name in ((5, "first"), (30, "last"), (3, "zero"), (10, "second")):
            host.call_at(start + seconds, partial(called.append, name))
        host.call_at(start + 7, partial(called.append, "never")).cancel()
        await trio.sleep(7)
        called.append("seven")
        await trio.sleep(100)
        return called

    assert run_mocked(main) == ["zero", "first", "seven", "second", "last"]


def test_a_callback_from_another_thread_wakes_the_run() -> None:
    """call_soon_threadsafe reaches a run that is asleep, in its own thread; after the run it is a RuntimeError."""

    async def main() -> Host:
        host = current_host()
        event = bridgeio.Event()
        where = []

        def callback() -> None:
            where.append(threading.get_ident())
            event.set()

        threading.Thread(target=host.call_soon_threadsafe, args=(callback,)).start()
        await event.wait()
        assert where == [threading.get_ident()]
        return host

    host = bridgeio.run(main, backend="trio")
    with pytest.raises(RuntimeError):
        host.call_soon_threadsafe(print)


def test_the_clock_may_be_asked_by_any_thread() -> None:
    """now() is of the run, not of the thread that asks."""

    async def main() -> None:
        host = current_host()
        before = host.now()
        elsewhere = await trio.to_thread.run_sync(host.now)
        assert before <= elsewhere <= host.now()

    trio.run(main)


def test_a_callback_that_fails_is_reported_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """Out of a system task its error would be a TrioInternalError and the end of every connection."""

    def fail() -> None:
        raise LookupError("this callback")

    async def main() -> None:
        host = current_host()
        host.call_at(host.now(), fail)
        await bridgeio.sleep(0.001)
        host.call_soon_threadsafe(fail)
        await echo_round()

    with caplog.at_level(logging.ERROR, "bridgeio.trio"):
        bridgeio.run(main, backend="trio")
    assert len(caplog.records) == 2


def test_a_watch_calls_for_each_direction_until_it_is_cancelled() -> None:
    """Readable and writable; cancelled, it leaves no task of Trio's behind."""

    async def main() -> None:
        host = current_host()
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        ours, theirs = socket.socketpair()
        with ours, theirs:
            readable, writable = bridgeio.Event(), bridgeio.Event()
            watch = host.watch(ours.fileno(), readable.set, writable.set)
            await writable.wait()
            assert not readable.is_set()
            theirs.send(b"!")
            await readable.wait()
            watch.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks

    trio.run(main)


def test_a_watch_that_is_cancelled_at_once_never_looks_at_its_descriptor() -> None:
    """It can be closed right after the cancel, before Trio has taken the first step of the watch."""

    async def main() -> None:
        host = current_host()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            host.watch(ours.fileno(), pytest.fail, pytest.fail).cancel()
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main)


def test_a_watch_that_is_cancelled_in_the_same_turn_does_not_call() -> None:
    """Two descriptors become readable at once, and the callback of either cancels the other's watch."""

    async def main() -> int:
        host = current_host()
        calls = []
        watches: list[Handle] = []

        def callback() -> None:
            calls.append("called")
            for watch in watches:
                watch.cancel()

        pairs = [socket.socketpair() for _ in range(2)]
        for ours, theirs in pairs:
            watches.append(host.watch(ours.fileno(), callback))
            theirs.send(b"!")
        await trio.testing.wait_all_tasks_blocked()
        for end in [end for pair in pairs for end in pair]:
            end.close()
        return len(calls)

    assert trio.run(main) == 1


def test_streams_work_where_trio_watches_each_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without epoll and kqueue, every socket is a watch of Trio's."""
    monkeypatch.setattr("bridgeio.poller.new_poller", lambda call_soon: None)

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            assert await ask(server.port, bytes(4 * 1024 * 1024)) == bytes(4 * 1024 * 1024)

    bridgeio.run(main, backend="trio")


def test_a_spawned_task_hears_the_core_tree() -> None:
    """Host.spawn hangs a task under a scope of the core's: its cancel ends a wait of Trio's."""

    async def main() -> None:
        host = current_host()
        ended = bridgeio.Event()

        async def wait() -> None:
            try:
                assert CURRENT.get() is record
                await trio.sleep_forever()
            finally:
                ended.set()

        scope = Scope()
        record = host.spawn(wait(), "spawned", scope)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        assert scope.task is not None
        scope.task.interrupt()
        await ended.wait()

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
