"""Chapter: promises 6 and 7. What a task group owes its children, its block, and the caller of ``start``."""

from __future__ import annotations

import gc
import traceback
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.callees import fail_at_once
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


class OneError(Exception):
    """An error that can be told from all others, and referred to weakly."""


class GraverError(BaseException):
    """One that is no `Exception`."""


# Promise 6: children never outlive their group


@pytest.mark.bridgeio_promise(6)
async def test_the_block_ends_after_a_child_that_refuses() -> None:
    """A child that shields itself from the cancel of its group is waited for, however long it takes."""
    cancelled, release, log = bridgeio.Event(), bridgeio.Event(), []

    async def refuse() -> None:
        with bridgeio.CancelScope(shield=True):
            await release.wait()
        log.append("child")

    async def block() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(refuse)
            await until(lambda: release.statistics().tasks_waiting)
            group.cancel_scope.cancel()
            cancelled.set()
        log.append("block")

    async with bridgeio.create_task_group() as outer:
        outer.start_soon(block)
        await cancelled.wait()
        for _ in range(5):
            await bridgeio.sleep(0)
        assert log == []
        release.set()
    assert log == ["child", "block"]


@pytest.mark.bridgeio_promise(6)
async def test_a_cancel_from_outside_ends_children_first() -> None:
    """A scope around a group is left only when the group's children have ended, cleanup and all."""
    log: list[str] = []

    async def child() -> None:
        try:
            scope.deadline = bridgeio.current_time()
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.002)
            log.append("child")

    with bridgeio.CancelScope() as scope:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
    log.append("scope")
    assert log == ["child", "scope"]


@pytest.mark.bridgeio_promise(6)
async def test_a_child_may_start_siblings_to_the_last() -> None:
    """A group whose block is over is open as long as a child runs, and waits for what that starts."""
    log: list[str] = []

    async def last() -> None:
        log.append("last")

    async def first(group: bridgeio.TaskGroup) -> None:
        await bridgeio.sleep(0.001)
        group.start_soon(last)

    async with bridgeio.create_task_group() as group:
        group.start_soon(first, group)
    assert log == ["last"]


@pytest.mark.bridgeio_promise(6)
async def test_groups_keep_their_nesting() -> None:
    """What comes out of an inner group is one failure of the outer group: only cancellations are taken out."""

    async def block() -> None:
        async with bridgeio.create_task_group() as outer:
            outer.start_soon(bridgeio.sleep_forever)
            async with bridgeio.create_task_group() as inner:
                inner.start_soon(bridgeio.sleep_forever)
                inner.start_soon(fail_at_once, OneError("inner"))
                await bridgeio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    (inner,) = caught.value.exceptions
    assert isinstance(inner, ExceptionGroup)
    assert [type(error) for error in inner.exceptions] == [OneError]


@pytest.mark.bridgeio_promise(6)
async def test_failures_come_out_of_a_cancelled_group() -> None:
    """A cancel from outside, and a child that fails while it cleans up: the failure is what comes out."""

    async def fail_late(scope: bridgeio.CancelScope) -> None:
        try:
            scope.deadline = bridgeio.current_time()
            await bridgeio.sleep_forever()
        finally:
            raise OneError("late")

    async def block() -> None:
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(fail_late, scope)
                group.start_soon(bridgeio.sleep_forever)
                await bridgeio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert [type(error) for error in caught.value.exceptions] == [OneError]


@pytest.mark.bridgeio_promise(6)
async def test_graver_errors_come_out_in_a_group_of_their_kind() -> None:
    """A child's `BaseException` cancels the rest like any failure, and makes a `BaseExceptionGroup`."""

    async def block() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(fail_at_once, GraverError())
            await bridgeio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await block()
    assert not isinstance(caught.value, ExceptionGroup)
    assert [type(error) for error in caught.value.exceptions] == [GraverError]


@pytest.mark.bridgeio_promise(6)
@pytest.mark.bridgeio_bug("group-of-cancellations")
@pytest.mark.parametrize("where", ["child", "block"])
@pytest.mark.parametrize("failures", [[], [OneError("beside it")]], ids=["alone", "beside a failure"])
async def test_a_wrapped_cancellation_does_not_come_out(where: str, failures: list[BaseException]) -> None:
    """Code that collects what its parts raise may wrap a cancellation: of that, the group lets out the rest."""
    out: list[BaseException] = []

    async def wrap() -> None:
        try:
            scope.deadline = bridgeio.current_time()
            await bridgeio.sleep_forever()
        except BaseException as error:
            raise BaseExceptionGroup("the parts", [error, *failures]) from None

    with bridgeio.CancelScope() as scope:
        try:
            async with bridgeio.create_task_group() as group:
                if where == "child":
                    group.start_soon(wrap)
                    await bridgeio.sleep_forever()
                await wrap()
        except ExceptionGroup as error:  # one that holds a cancellation is none
            out.append(error)
    assert [str(error.exceptions[0]) for error in out if isinstance(error, ExceptionGroup)] == [
        "the parts (1 sub-exception)" for _ in failures
    ]


@pytest.mark.bridgeio_promise(6)
async def test_the_blocks_own_error_is_told_once() -> None:
    """It stands in the group, and not a second time as what the group was raised in the handling of."""

    async def block() -> None:
        async with bridgeio.create_task_group():
            raise OneError("told once")

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert "".join(traceback.format_exception(caught.value)).count("OneError: told once") == 1


@pytest.mark.bridgeio_promise(6)
async def test_every_failure_keeps_its_traceback() -> None:
    """Each exception in the group tells the lines of the child that raised it."""

    async def inner_function() -> None:
        raise OneError("deep")

    async def child() -> None:
        await inner_function()

    async def block() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
            group.start_soon(child)

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    for error in caught.value.exceptions:
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert names[-2:] == ["child", "inner_function"]


@pytest.mark.bridgeio_promise(6)
@pytest.mark.parametrize("where", ["child", "block"])
@pytest.mark.bridgeio_needs("freed_at_once")
async def test_a_group_that_failed_leaves_no_circles(where: str) -> None:
    """Errors, and what the tasks of a failed group held, are freed at once: nothing waits for the collector."""
    refs: list[weakref.ref[Any]] = []

    def held(thing: Any) -> Any:
        refs.append(weakref.ref(thing))
        return thing

    async def wait() -> None:
        mine = held(OneError("never raised"))  # noqa: F841 - in the frame, and nowhere else
        await bridgeio.sleep_forever()

    async def fail() -> None:
        mine = held(OneError("never raised"))  # noqa: F841 - in the frame, and nowhere else
        raise held(OneError("raised"))

    async def block() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(fail)
            if where == "block":
                await fail()
            await bridgeio.sleep_forever()

    with _without_collector():
        try:
            await block()
        except ExceptionGroup as caught:
            held(caught)
        await until(lambda: not any(ref() for ref in refs))
    assert len(refs) >= 4


@pytest.mark.bridgeio_promise(6)
@pytest.mark.bridgeio_needs("freed_at_once")
async def test_a_group_that_was_cancelled_leaves_no_circles() -> None:
    """The same where nothing failed: a scope, a deadline, a child and a ``start`` that end by a cancel."""
    refs: list[weakref.ref[Any]] = []

    async def wait(
        scope: bridgeio.CancelScope, *, task_status: bridgeio.TaskStatus[Any] = bridgeio.TASK_STATUS_IGNORED
    ) -> None:
        mine = OneError("never raised")  # in the frame, and nowhere else
        refs.append(weakref.ref(mine))
        scope.deadline = bridgeio.current_time()
        await bridgeio.sleep_forever()

    with _without_collector():
        with bridgeio.CancelScope() as scope:
            await wait(scope)
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(wait, scope)
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                await group.start(wait, scope)
        await until(lambda: not any(ref() for ref in refs))
    assert len(refs) == 3


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# Promise 7: start() owns its child until it has started


@pytest.mark.bridgeio_promise(7)
async def test_the_groups_cancel_reaches_a_child_once_it_has_started() -> None:
    """Until ``started()`` the child is the caller's, and the group waits; then the group's cancel counts."""
    go, log = bridgeio.Event(), []

    async def child(*, task_status: bridgeio.TaskStatus[str]) -> None:
        await go.wait()
        task_status.started("value")
        log.append("started")
        await bridgeio.sleep(0)
        log.append("too far")

    async def caller(group: bridgeio.TaskGroup) -> None:
        log.append(await group.start(child))

    async with bridgeio.create_task_group() as outer:
        async with bridgeio.create_task_group() as group:
            outer.start_soon(caller, group)
            await until(lambda: go.statistics().tasks_waiting)
            group.cancel_scope.cancel()
            outer.start_soon(_set_after_some_turns, go)
        log.append("left")
    assert log[0] == "started"
    assert sorted(log) == ["left", "started", "value"]


async def _set_after_some_turns(event: bridgeio.Event) -> None:
    for _ in range(5):
        await bridgeio.sleep(0)
    event.set()


@pytest.mark.bridgeio_promise(7)
async def test_a_cancelled_caller_waits_for_the_child_to_clean_up() -> None:
    """The cancel of ``start`` comes out only when the child, shielded cleanup included, has ended."""
    log: list[str] = []

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        try:
            scope.deadline = bridgeio.current_time()
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.002)
            log.append("child")

    async with bridgeio.create_task_group() as group:
        with bridgeio.CancelScope() as scope:
            await group.start(child)
        log.append("caller")
    assert log == ["child", "caller"]


@pytest.mark.bridgeio_promise(7)
async def test_a_child_that_has_started_survives_its_caller() -> None:
    """After ``started()`` a cancel of what is around the call of ``start`` leaves the child alone."""
    log: list[str] = []
    finish = bridgeio.Event()

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        task_status.started()
        await finish.wait()
        log.append("child")

    async with bridgeio.create_task_group() as group:
        with bridgeio.CancelScope() as around:
            await group.start(child)
            around.cancel()
            await bridgeio.sleep_forever()
        assert around.cancelled_caught
        await bridgeio.sleep(0)
        finish.set()
    assert log == ["child"]


@pytest.mark.bridgeio_promise(7)
async def test_a_child_that_fails_after_it_started_fails_the_group() -> None:
    """From ``started()`` on, its error is one of the group's."""

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        task_status.started()
        raise OneError("later")

    async def block() -> None:
        async with bridgeio.create_task_group() as group:
            await group.start(child)
            await bridgeio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert [type(error) for error in caught.value.exceptions] == [OneError]


@pytest.mark.bridgeio_promise(7)
async def test_started_is_said_once() -> None:
    """A second ``started()`` is a RuntimeError in the child."""
    errors: list[str] = []

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        task_status.started()
        with pytest.raises(RuntimeError) as caught:
            task_status.started()
        errors.append(str(caught.value))

    async with bridgeio.create_task_group() as group:
        await group.start(child)
    assert "started" in errors[0]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
