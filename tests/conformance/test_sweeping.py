"""The sweep itself: an operation that loses something is found out, and told at which wait.

Each operation here is wrong in one way. The messages are read, because they are what a user gets.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio import lowlevel
from bridgeio.registry import current_host, current_task
from bridgeio.testing import Moment, sweep, sweeping
from bridgeio.testing.peers import peer_stream
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

# On a busy machine a wait's result may be there before the cancel is, and the complaint says so.
_WAITING = "cancelled (?:while it waits|in the turn of the result, just before that), at wait"

World = Callable[[], AbstractAsyncContextManager[sweeping.Operation]]


def _world(operation: sweeping.Operation) -> World:
    """A world that needs nothing and finds nothing."""

    @asynccontextmanager
    async def world() -> AsyncIterator[sweeping.Operation]:
        yield operation

    return world


async def _complaint(world: World, **how: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        await sweep(world, name="the operation", **how)
    return str(raised.value)


async def _one_wait() -> None:
    """A short sleep that is a wait also where the clock was faster than its next line."""
    task = current_task()
    await lowlevel.checkpoint_if_cancelled()
    timer = task.host.timers.add(bridgeio.current_time() + 0.0002, task.wake)

    def abort() -> bool:
        timer.cancel()
        return True

    await task.park(abort)


async def _three_waits() -> None:
    await _one_wait()
    async with bridgeio.create_task_group() as group:
        group.start_soon(_one_wait)
        await _one_wait()


async def test_every_wait_is_met() -> None:
    """Each wait is cancelled once in each way, a child's too, and the sweep says how many that were."""
    swept = await sweep(_world(_three_waits), name="three waits")
    assert swept.waits >= 9
    assert swept.runs >= 9 + 2
    assert swept.backend == bridgeio.current_backend()
    assert sweeping.sweeps_done() == [swept]


async def test_a_cancel_meets_the_wait_it_is_meant_for() -> None:
    """The first, the second, the third in turn; and the last run is not cancelled."""
    ended_in: list[int] = []

    async def operation() -> None:
        ended_in.append(0)
        for number in (1, 2, 3):
            await _one_wait()
            ended_in[-1] = number

    await sweep(_world(operation), moments=[Moment.WAITING])
    sweeping.sweeps_done()
    assert ended_in == [3, 0, 1, 2, 3]  # the first run counts, and none was cancelled in the last


async def test_a_lost_byte_is_found() -> None:
    """What a cancelled operation has read and forgotten is missed, and the wait is named."""

    @asynccontextmanager
    async def world() -> AsyncIterator[sweeping.Operation]:
        async with peer_stream() as (reader, _, peer):
            peer.send(b"abc")
            peer.half_close()
            whole: list[bytes] = []

            async def read_three() -> None:
                first = await reader.readexactly(1)
                await _one_wait()
                whole.append(first + await reader.readexactly(2))

            yield read_three
            whole.append(await reader.readexactly(3 - len(b"".join(whole))) if not whole else b"")
            assert b"".join(whole) == b"abc"

    complaint = await _complaint(world, moments=[Moment.WAITING])
    assert re.match(rf"the operation, {_WAITING} 2 \(.*read_three:\d+.*\): IncompleteReadError", complaint)


async def test_a_leaked_descriptor_is_found() -> None:
    """What was opened before a wait and is closed only after it."""

    async def operation() -> None:
        descriptor = os.dup(0)
        leaked.append(descriptor)
        await _one_wait()
        close(leaked.pop())

    leaked: list[int] = []
    close = original("os", "close")  # gevent's does it later
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "LEFTOVERS_GO", 0.1)
        complaint = await _complaint(_world(operation), moments=[Moment.WAITING])
    close(leaked.pop())
    assert re.match(rf"the operation, {_WAITING} 1 \(.*operation:\d+", complaint)
    assert "left something behind" in complaint
    assert re.search(r"new descriptors \['\d+:", complaint)


async def test_what_soon_goes_away_is_not_left_behind() -> None:
    """A timer that is still there when a run ends, and a moment later is not, is no leak."""

    async def operation() -> None:
        runs.append(len(runs))
        if runs[-1]:  # the first one is what the others are held against
            current_host().timers.add(bridgeio.current_time() + 0.02, lambda: None)
        await _one_wait()

    runs: list[int] = []
    await sweep(_world(operation), moments=[Moment.WAITING])
    sweeping.sweeps_done()


async def test_a_leaked_timer_is_found() -> None:
    """A callback that would come long after the operation."""

    async def operation() -> None:
        timer = current_host().timers.add(bridgeio.current_time() + 60, lambda: None)
        timers.append(timer)
        await _one_wait()
        timer.cancel()

    timers: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "LEFTOVERS_GO", 0.1)
        complaint = await _complaint(_world(operation), moments=[Moment.AFTER, Moment.WAITING])
    for timer in timers:
        timer.cancel()
    assert re.search(f"{_WAITING} 1", complaint)
    assert re.search(r"timers (\d+) -> (?!\1\b)\d+", complaint)


async def test_a_lock_that_stays_taken_is_found() -> None:
    """By the world: the words of its assertion are in the complaint."""

    @asynccontextmanager
    async def world() -> AsyncIterator[sweeping.Operation]:
        lock = bridgeio.Semaphore(1)

        async def operation() -> None:
            await lock.acquire()
            await _one_wait()
            lock.release()

        yield operation
        assert lock.value == 1, "the lock is still taken"

    complaint = await _complaint(world)
    assert re.search(rf"{_WAITING} 1 \(.*\): AssertionError: the lock is still taken", complaint)


async def test_a_lie_about_a_grant_is_found() -> None:
    """A wait that says it was taken back, when the item was taken out for it by then, loses the item."""

    @asynccontextmanager
    async def world() -> AsyncIterator[sweeping.Operation]:
        items, got = ["the item"], list[str]()
        waiting: list[Any] = []

        async def operation() -> None:
            await lowlevel.checkpoint_if_cancelled()
            waiting.append(current_task())
            await waiting[0].park(lambda: True)
            got.append(given.pop())

        async def give() -> None:
            while not (waiting and waiting[0].abort):
                await bridgeio.sleep(0.0002)
            given.append(items.pop())
            waiting[0].wake()

        given: list[str] = []
        async with bridgeio.create_task_group() as group:
            group.start_soon(give)
            yield operation
            group.cancel_scope.cancel()
        assert items or got, "the item is lost"

    complaint = await _complaint(world)
    assert "in the turn of the result, just before that, at wait 1" in complaint
    assert "the item is lost" in complaint


async def test_a_deaf_operation_is_found() -> None:
    """One that does not look whether it is cancelled before it begins."""

    async def operation() -> None:
        with bridgeio.CancelScope(shield=True):
            await _one_wait()

    complaint = await _complaint(_world(operation))
    assert complaint == "the operation, cancelled before its first step: it went on as if it had not been cancelled"


async def test_an_operation_that_hears_nothing_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """One that waits on behind a shield cannot be ended; the log says where the cancel met it."""

    @asynccontextmanager
    async def world() -> AsyncIterator[sweeping.Operation]:
        release = bridgeio.Event()
        alarms.append(release.set)

        async def operation() -> None:
            try:
                await _one_wait()
            except bridgeio.get_cancelled_exc_class():
                with bridgeio.CancelScope(shield=True):
                    await release.wait()
                raise

        yield operation
        if (
            release.is_set()
        ):  # the alarm and the deadline come at the same moment: let it be the deadline that ends this
            await bridgeio.sleep_forever()

    alarms: list[Callable[[], None]] = []

    class Alarm(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            alarms[-1]()

    alarm = Alarm()
    sweeping.logger.addHandler(alarm)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweeping, "PATIENCE", 0.3)
            complaint = await _complaint(world, moments=[Moment.WAITING])
    finally:
        sweeping.logger.removeHandler(alarm)
    assert re.search(f"{_WAITING} 1", complaint)
    assert re.search(f"{_WAITING} 1", caplog.text)


async def test_an_operation_without_an_end_is_found() -> None:
    """Whoever waits again for each cancel is not swept for ever."""
    runs = 0

    async def operation() -> None:
        nonlocal runs
        runs += 1
        for _ in range(runs):
            await _one_wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "MOST_WAITS", 5)
        complaint = await _complaint(_world(operation), moments=[Moment.WAITING])
    assert complaint == "the operation does not come to an end: it has waited 5 times"


async def test_one_sweep_at_a_time() -> None:
    """A sweep inside a sweep would take the other's waits for its own; it is refused."""

    async def operation() -> None:
        await sweep(_world(_three_waits))

    assert "RuntimeError: tasks are observed already" in await _complaint(_world(operation))


async def test_a_sweep_leaves_the_classes_as_they_were() -> None:
    """After it, also after one that failed, tasks are as nobody had ever looked."""
    kind = type(current_task())
    before = (kind.park, kind.wake, kind.wake_now, kind.give_way)
    await _complaint(_world(lambda: sweep(_world(_three_waits))))
    assert (kind.park, kind.wake, kind.wake_now, kind.give_way) == before
