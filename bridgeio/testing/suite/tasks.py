"""Chapter: tasks. Groups, scopes, deadlines, sleeping and events, as far as serving and connecting need them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.callees import fail_at_once
from bridgeio.testing.resources import until
from bridgeio.testing.virtual_time import run_in_virtual_time

pytestmark = pytest.mark.bridgeio

_NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def _started(value: object, *, task_status: bridgeio.TaskStatus[Any]) -> None:
    task_status.started(value)
    await bridgeio.sleep_forever()


async def test_children_run_at_once() -> None:
    """Children of a group run side by side, with their arguments, and end before the block does."""
    order: list[str] = []

    async def child(name: str, times: int) -> None:
        for _ in range(times):
            order.append(name)
            await bridgeio.sleep(0)

    async with bridgeio.create_task_group() as group:
        group.start_soon(child, "a", 3)
        group.start_soon(child, "b", 3)
    assert sorted(order) == list("aaabbb")
    assert order[:3] != list("aaa")


@pytest.mark.bridgeio_promise(6)
async def test_a_failure_cancels_the_rest() -> None:
    """One child's failure cancels its siblings and the block; it comes out in an ExceptionGroup."""
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            ended.append(name)

    async def block() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(wait, "sibling")
            group.start_soon(fail_at_once, KeyError("mine"))
            await wait("block")

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert sorted(ended) == ["block", "sibling"]


@pytest.mark.bridgeio_promise(6)
async def test_all_failures_come_out() -> None:
    """Every failure is in the group, the block's own too; cancellations are not."""

    async def fail_when_cancelled() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            raise IndexError("while cleaning up")

    async def block() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(fail_when_cancelled)
            group.start_soon(bridgeio.sleep_forever)
            await bridgeio.sleep(0.001)
            raise KeyError("the block's")

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert {type(error) for error in caught.value.exceptions} == {KeyError, IndexError}


@pytest.mark.bridgeio_promise(6)
@pytest.mark.bridgeio_bug("abandoned-children")
async def test_a_cancelled_group_waits_for_its_children() -> None:
    """A cancel of the group ends its children, lets them clean up, and is absorbed."""
    cleaned: list[int] = []

    async def child(number: int) -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.005)
            cleaned.append(number)

    async with bridgeio.create_task_group() as group:
        for number in range(3):
            group.start_soon(child, number)
        await bridgeio.sleep(0.001)
        group.cancel_scope.cancel()
    assert sorted(cleaned) == [0, 1, 2]


@pytest.mark.bridgeio_promise(9)
@pytest.mark.bridgeio_bug("cancelled-before-first-step")
async def test_cancelled_before_the_first_step() -> None:
    """A child of a cancelled group still starts, and is cancelled at its first wait: it can close what it got."""
    seen: list[str] = []

    async def child() -> None:
        seen.append("started")
        try:
            await bridgeio.sleep_forever()
        finally:
            seen.append("cleaned")

    async with bridgeio.create_task_group() as group:
        group.cancel_scope.cancel()
        group.start_soon(child)
    assert seen == ["started", "cleaned"]


@pytest.mark.bridgeio_promise(7)
async def test_start_gives_the_value() -> None:
    """``start`` waits for ``started(value)`` and returns the value; the child goes on in the group."""
    async with bridgeio.create_task_group() as group:
        assert await group.start(_started, "value") == "value"
        group.cancel_scope.cancel()


@pytest.mark.bridgeio_promise(7)
async def test_start_of_a_child_that_fails() -> None:
    """A child that fails before it started raises in ``start``, and leaves the group alone."""

    async def child(*, task_status: bridgeio.TaskStatus[Any]) -> None:
        raise KeyError("mine")

    async with bridgeio.create_task_group() as group:
        with pytest.raises(KeyError):
            await group.start(child)
        await bridgeio.sleep(0)


@pytest.mark.bridgeio_promise(7)
async def test_start_of_a_child_that_never_starts() -> None:
    """A child that ends without ``started()`` is a RuntimeError in ``start``."""

    async def child(*, task_status: bridgeio.TaskStatus[Any]) -> None:
        await bridgeio.sleep(0)

    async with bridgeio.create_task_group() as group:
        with pytest.raises(RuntimeError, match="started"):
            await group.start(child)


async def test_a_cancelled_start_whose_child_ends_quietly() -> None:
    """The caller was cancelled, and that is what it hears, not that its child has not started."""

    async def end_in_time(*, task_status: bridgeio.TaskStatus[None]) -> None:
        with bridgeio.CancelScope(shield=True):
            scope.cancel()
            await bridgeio.sleep(0.001)

    scope = bridgeio.CancelScope()
    async with bridgeio.create_task_group() as group:
        with scope:
            await group.start(end_in_time)
        assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(7)
async def test_cancelling_start_cancels_the_child() -> None:
    """A cancel of the caller of ``start`` ends the child before ``start`` ends."""
    ended: list[str] = []

    async def child(*, task_status: bridgeio.TaskStatus[Any]) -> None:
        try:
            scope.deadline = bridgeio.current_time()
            await bridgeio.sleep_forever()
        finally:
            ended.append("child")

    async with bridgeio.create_task_group() as group:
        with bridgeio.CancelScope() as scope:
            await group.start(child)
        ended.append("caller")
    assert scope.cancelled_caught
    assert ended == ["child", "caller"]


async def test_a_group_that_is_not_open() -> None:
    """Starting a task before or after the block is a RuntimeError, and leaves no coroutine behind."""
    group = bridgeio.create_task_group()
    with pytest.raises(RuntimeError):
        group.start_soon(bridgeio.sleep, 0)
    async with group:
        pass
    with pytest.raises(RuntimeError):
        group.start_soon(bridgeio.sleep, 0)


async def test_what_is_no_async_function() -> None:
    """A group wants an async function, and says so where a plain one or a coroutine is given."""

    def plain(*, task_status: object = None) -> None:
        return None

    async with bridgeio.create_task_group() as group:
        with pytest.raises(TypeError, match="plain is no async function"):
            group.start_soon(plain)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="leave out the"):
            group.start_soon(bridgeio.sleep(0))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="plain is no async function"):
            await group.start(plain)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="leave out the"):
            await group.start(bridgeio.sleep(0))  # type: ignore[arg-type]


async def test_move_on_after() -> None:
    """A deadline ends its block quietly; the scope tells whether it did."""
    with bridgeio.move_on_after(0.005) as scope:
        await bridgeio.sleep_forever()
    assert scope.cancel_called
    assert scope.cancelled_caught
    with bridgeio.move_on_after(1000) as scope:
        await bridgeio.sleep(0)
    assert not scope.cancelled_caught


@pytest.mark.bridgeio_bug("false-timeout")
async def test_fail_after() -> None:
    """A deadline of ``fail_after`` is a TimeoutError; a cancel by hand before it is not."""
    with pytest.raises(TimeoutError), bridgeio.fail_after(0.005):
        await bridgeio.sleep_forever()
    with bridgeio.fail_after(1000) as scope:
        scope.cancel()
        await bridgeio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.parametrize("delay", [0, -1])
@pytest.mark.bridgeio_promise(8)
@pytest.mark.bridgeio_bug("passed-deadline")
async def test_a_deadline_that_has_passed(delay: float) -> None:
    """It cancels at the first wait, also at one that need not wait."""
    reached: list[str] = []
    with bridgeio.move_on_after(delay) as scope:
        reached.append("block")
        await bridgeio.sleep(0)
        reached.append("too far")
    assert scope.cancelled_caught
    assert reached == ["block"]


@pytest.mark.bridgeio_promise(8)
async def test_an_outer_deadline_counts_inside() -> None:
    """An outer scope's deadline ends an inner block, and it is the outer that absorbs it."""
    with bridgeio.move_on_after(0.005) as outer, bridgeio.move_on_after(1000) as inner:
        assert bridgeio.current_effective_deadline() == outer.deadline
        await bridgeio.sleep_forever()
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_may_be_moved() -> None:
    """Moving a deadline works while a task waits, in both directions."""
    with bridgeio.move_on_after(0.01) as scope:
        scope.deadline = bridgeio.current_time() + 1000
        await bridgeio.sleep(0.02)
    assert not scope.cancelled_caught
    async with bridgeio.create_task_group() as group:
        with bridgeio.CancelScope() as scope:
            assert scope.deadline == math.inf

            async def hurry() -> None:
                scope.deadline = bridgeio.current_time()

            group.start_soon(hurry)
            await bridgeio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(1)
async def test_a_shield_hides_the_outer_scopes() -> None:
    """Inside a shield a cancelled task can wait; after it the cancel comes."""
    reached: list[str] = []
    with bridgeio.CancelScope() as outer:
        outer.cancel()
        with bridgeio.CancelScope(shield=True):
            await bridgeio.sleep(0.001)
            reached.append("shielded")
        await bridgeio.sleep(0)
        reached.append("too far")
    assert reached == ["shielded"]


@pytest.mark.bridgeio_promise(1)
async def test_a_cancelled_scope_stays_cancelled() -> None:
    """Every wait in a cancelled scope raises, as often as it is tried."""
    raised = 0
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        for _ in range(3):
            try:
                await bridgeio.sleep(0)
            except bridgeio.get_cancelled_exc_class():
                raised += 1
        await bridgeio.sleep(0)
    assert raised == 3


@pytest.mark.bridgeio_bug("passed-deadline")
async def test_cancel_before_entering() -> None:
    """A scope may be cancelled before its block begins."""
    scope = bridgeio.CancelScope()
    scope.cancel()
    with scope:
        await bridgeio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancel_from_another_task() -> None:
    """A task that waits in a scope is ended by another task's ``cancel``."""
    async with bridgeio.create_task_group() as group:
        with bridgeio.CancelScope() as scope:

            async def cancel() -> None:
                scope.cancel()

            group.start_soon(cancel)
            await bridgeio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(5)
async def test_a_scope_absorbs_only_its_own() -> None:
    """Ordinary exceptions pass through a cancelled scope."""
    scope = bridgeio.CancelScope()
    scope.cancel()
    with pytest.raises(KeyError), scope:
        await fail_at_once(KeyError("mine"))
    assert not scope.cancelled_caught


@pytest.mark.bridgeio_bug("stale-state")
async def test_an_old_cancel_does_not_leak() -> None:
    """After a cancelled scope was left the task waits as if nothing had been."""
    for _ in range(3):
        with bridgeio.move_on_after(0):
            await bridgeio.sleep_forever()
        await bridgeio.sleep(0.001)
        with bridgeio.CancelScope() as scope:
            await bridgeio.sleep(0.001)
        assert not scope.cancelled_caught


async def test_sleep() -> None:
    """``sleep`` waits at least that long on ``current_time``'s clock, and its like until a time on it."""
    begin = bridgeio.current_time()
    await bridgeio.sleep(0.01)
    assert bridgeio.current_time() >= begin + 0.01
    await bridgeio.sleep_until(begin + 0.02)
    assert bridgeio.current_time() >= begin + 0.02
    await bridgeio.sleep(-1)


def test_many_sleepers_wake_in_order(backend: str, backend_options: Mapping[str, object]) -> None:
    """Deadlines end in their order, whichever was set first. (Those that a busy machine finds over at once
    have no order on Trio, so the clock is one that jumps.)"""
    woken: list[int] = []

    async def sleeper(number: int, when: float) -> None:
        await bridgeio.sleep_until(when)
        woken.append(number)

    async def main() -> None:
        begin = bridgeio.current_time()
        async with bridgeio.create_task_group() as group:
            for number in (3, 1, 4, 0, 2):
                group.start_soon(sleeper, number, begin + 0.01 + 0.01 * number)

    run_in_virtual_time(main, backend=backend, backend_options=backend_options)
    assert woken == [0, 1, 2, 3, 4]


async def test_an_event_wakes_all_that_wait() -> None:
    """``set`` wakes every waiting task, and later ones do not wait at all."""
    event, woken = bridgeio.Event(), []

    async def wait(number: int) -> None:
        await event.wait()
        woken.append(number)

    async with bridgeio.create_task_group() as group:
        for number in range(5):
            group.start_soon(wait, number)
        await bridgeio.sleep(0.001)
        assert not event.is_set()
        assert woken == []
        event.set()
        assert event.is_set()
    assert sorted(woken) == [0, 1, 2, 3, 4]
    await event.wait()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("lost-result")
async def test_a_result_wins_over_a_later_cancel() -> None:
    """A wait that has its result already ends with it; the cancel comes at the next wait."""
    event, reached = bridgeio.Event(), []

    async def wait(scope: bridgeio.CancelScope) -> None:
        with scope:
            await event.wait()
            reached.append("result")
            await bridgeio.sleep(0)
            reached.append("too far")

    async with bridgeio.create_task_group() as group:
        scope = bridgeio.CancelScope()
        group.start_soon(wait, scope)
        await until(lambda: event.statistics().tasks_waiting)
        event.set()
        scope.cancel()
    assert reached == ["result"]
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(2)
async def test_a_cancelled_wait_leaves_the_queue() -> None:
    """A task that was cancelled while it waited for an event is not woken by it later."""
    event = bridgeio.Event()
    with bridgeio.move_on_after(0.001):
        await event.wait()
    assert event.statistics().tasks_waiting == 0
    event.set()
    await bridgeio.sleep(0)


async def test_context_variables_flow_into_children() -> None:
    """A child sees its parent's context variables and has its own copy of them."""
    seen: list[str] = []

    async def child() -> None:
        seen.append(_NAME.get())
        _NAME.set("child")
        await bridgeio.sleep(0)
        seen.append(_NAME.get())

    _NAME.set("parent")
    async with bridgeio.create_task_group() as group:
        group.start_soon(child)
    assert seen == ["parent", "child"]
    assert _NAME.get() == "parent"


async def test_checkpoints() -> None:
    """``checkpoint`` gives way and hears of a cancel; its two halves do one of that each."""
    others: list[int] = []

    async def other() -> None:
        others.append(len(others))

    async with bridgeio.create_task_group() as group:
        group.start_soon(other)
        while not others:
            await bridgeio.lowlevel.checkpoint()
        group.start_soon(other)
        while len(others) < 2:
            await bridgeio.lowlevel.cancel_shielded_checkpoint()
    with bridgeio.CancelScope() as scope:
        await bridgeio.lowlevel.checkpoint_if_cancelled()
        scope.cancel()
        await bridgeio.lowlevel.cancel_shielded_checkpoint()
        others.append(2)
        await bridgeio.lowlevel.checkpoint_if_cancelled()
        others.append(3)
    assert others == [0, 1, 2]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
