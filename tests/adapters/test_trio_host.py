"""What a run of Trio does for bridgeio: time, which may be a mock's, callbacks and descriptors."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

import bridgeio
from bridgeio.contract import CURRENT, Handle, Host, Scope
from bridgeio.registry import current_host
from bridgeio.watching import WatchingPoller
from echoing import ask, echo, echo_round

T = TypeVar("T")

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
    monkeypatch.setattr("bridgeio.contract.new_poller", WatchingPoller)

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
