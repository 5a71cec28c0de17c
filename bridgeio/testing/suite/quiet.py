"""Chapter: quiet. Between a cancel and the end of those who do not end by it, nothing polls.

Each test cancels somebody who stays, lets time go by, and counts meanwhile: steps of tasks, dispatches
of the poller, and calls of bridgeio's own functions in the test's thread. The time is there for whoever
polls to show it, and none of the bounds depends on it: longer, it would count the same.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import FrameType

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.natives import native_of
from bridgeio.testing.observing import StepCounter, observed
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio

A_WHILE = 0.03  # seconds; whoever looks again at each turn of the loop does so hundreds of times

# The cancel and the test's own sleep and release are in these, so that nothing has to be subtracted.
STEPS = 6
DISPATCHES = 1
CALLS = 200  # 90 were the most where tasks are woken directly; an attendant that wakes them took 151


@dataclass(slots=True)
class Count:
    steps: int = 0
    dispatches: int = 0
    calls: int = 0


@asynccontextmanager
async def _counted() -> AsyncIterator[Count]:
    """Counts what happens during the block, and not what the collector finalizes of earlier tests'."""
    gc.collect()
    count = Count()
    steps = StepCounter()
    poller = current_host().poller()

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("bridgeio") and not name.startswith("bridgeio.testing"):
            count.calls += 1

    before, profile = poller.dispatches, sys.getprofile()
    with observed(steps):
        sys.setprofile(on_call)
        try:
            yield count
        finally:
            sys.setprofile(profile)
    count.steps = steps.steps
    count.dispatches = poller.dispatches - before


async def _while_they_stay(cancel: Callable[[], object]) -> Count:
    """Cancels, and waits a while. Who stays has to be released before what was counted is looked at: a group waits
    for them, and nobody would hear of a failure."""
    async with _counted() as count:
        cancel()
        await bridgeio.sleep(A_WHILE)
    return count


def _assert_quiet(count: Count) -> None:
    assert count.steps <= STEPS
    assert count.dispatches <= DISPATCHES
    assert count.calls <= CALLS


async def test_counting_counts() -> None:
    """Somebody who polls is far above each bound, and so would be seen by the tests of this chapter."""
    polls = 0

    async def poll() -> None:
        nonlocal polls
        while True:
            polls += 1
            await bridgeio.sleep(0)

    async with bridgeio.create_task_group() as group:
        group.start_soon(poll)
        async with _counted() as count:
            await until(lambda: polls > CALLS)
        group.cancel_scope.cancel()
    assert count.steps > STEPS
    assert bridgeio.current_backend() == "threads" or count.calls > CALLS  # there it is another thread that polls


@pytest.mark.bridgeio_promise(1)
async def test_a_shielded_child_is_left_alone() -> None:
    """A group that was cancelled waits for a shielded child, and asks for nothing meanwhile."""
    shielded, release = bridgeio.Event(), bridgeio.Event()

    async def child() -> None:
        with bridgeio.CancelScope(shield=True):
            shielded.set()
            await release.wait()

    async with bridgeio.create_task_group() as group:
        group.start_soon(child)
        await shielded.wait()
        with bridgeio.CancelScope(shield=True):
            count = await _while_they_stay(group.cancel_scope.cancel)
        release.set()
    _assert_quiet(count)


@pytest.mark.bridgeio_promise(1)
async def test_a_group_in_its_own_wait_is_left_alone() -> None:
    """The task that waits for the children of its cancelled group is cancelled once, and waits on."""
    shielded, release = bridgeio.Event(), bridgeio.Event()
    scope = bridgeio.CancelScope()

    async def child() -> None:
        with bridgeio.CancelScope(shield=True):
            shielded.set()
            await release.wait()

    async def parent() -> None:
        with scope:
            async with bridgeio.create_task_group() as inner:
                inner.start_soon(child)

    async with bridgeio.create_task_group() as group:
        group.start_soon(parent)
        await shielded.wait()
        await bridgeio.sleep(0.001)  # the parent, too, waits by now, or hears of it when it does
        count = await _while_they_stay(scope.cancel)
        release.set()
    _assert_quiet(count)
    assert scope.cancel_called


@pytest.mark.bridgeio_promise(1)
async def test_a_child_that_refuses_is_told_once() -> None:
    """One that swallows its cancel and waits on, behind a shield, hears of it once, however long it takes."""
    waiting, release = bridgeio.Event(), bridgeio.Event()
    heard = 0

    async def child() -> None:
        nonlocal heard
        while not release.is_set():
            try:
                with bridgeio.CancelScope(shield=heard > 0):
                    waiting.set()
                    await release.wait()
            except bridgeio.get_cancelled_exc_class():
                heard += 1

    async with bridgeio.create_task_group() as group:
        group.start_soon(child)
        await waiting.wait()
        with bridgeio.CancelScope(shield=True):
            count = await _while_they_stay(group.cancel_scope.cancel)
        release.set()
    _assert_quiet(count)
    assert heard == 1


@pytest.mark.bridgeio_promise(1, 7)
async def test_a_starting_child_that_cleans_up_is_left_alone() -> None:
    """``start`` that is cancelled waits for its child's cleanup, in one wait."""
    shielded, release = bridgeio.Event(), bridgeio.Event()
    scope = bridgeio.CancelScope()

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        with bridgeio.CancelScope(shield=True):
            shielded.set()
            await release.wait()

    async def caller() -> None:
        with scope:
            await group.start(child)

    async with bridgeio.create_task_group() as group:
        group.start_soon(caller)
        await shielded.wait()
        count = await _while_they_stay(scope.cancel)
        release.set()
    _assert_quiet(count)
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(3)
@pytest.mark.bridgeio_needs("native_await", "native_await_cancelled", "native_await_cancelled_once")
async def test_a_child_that_refuses_natively_is_told_once(backend: str) -> None:
    """One that swallows its cancel in a wait of the framework's own, and waits there again, hears of it once;
    an explicit second ``cancel`` tells it again."""
    native = native_of(backend)
    if native is None:
        pytest.skip("the kit knows no native wait of this backend")
    waiting = bridgeio.Event()
    heard = 0

    async def child() -> None:
        nonlocal heard
        while heard < 2:
            try:
                waiting.set()
                await native.wait_forever()
            except bridgeio.get_cancelled_exc_class():
                heard += 1

    async with bridgeio.create_task_group() as group:
        group.start_soon(child)
        await waiting.wait()
        await bridgeio.sleep(0.001)  # on gevent the child has to get from here to there
        try:
            with bridgeio.CancelScope(shield=True):
                _assert_quiet(await _while_they_stay(group.cancel_scope.cancel))
                assert heard == 1
                group.cancel_scope.cancel()
                await until(lambda: heard == 2)
        finally:
            heard = 2  # or a child that has not heard of the second would be waited for, and nobody told of the failure
            group.cancel_scope.cancel()


async def test_waiting_for_a_time_polls_neither() -> None:
    """Nor where the framework's timers are coarser than its clock, as uvloop's are, and come too early: then they are
    asked for once more, and not until the time has come."""
    most = 0
    for number in range(30):
        async with _counted() as count:
            await bridgeio.sleep(0.001 + 0.00013 * number)
        most = max(most, count.calls)
    assert most <= CALLS


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
