"""Chapter: known bugs. Mistakes that libraries of this kind have made, each looked for here.

Rows of that table which a test elsewhere in the suite finds are marked there; see `bridgeio.testing.promises`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

import bridgeio
from bridgeio.testing.natives import Native
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


@pytest.mark.bridgeio_bug("passed-deadline")
async def test_a_deadline_that_had_passed_on_entering() -> None:
    """Entered with a deadline in the past, or moved there before entering: the first wait is cancelled."""
    for scope in (bridgeio.CancelScope(deadline=bridgeio.current_time() - 1), bridgeio.CancelScope()):
        scope.deadline = bridgeio.current_time() - 1
        with scope:
            await bridgeio.sleep_forever()
        assert scope.cancelled_caught


@pytest.mark.bridgeio_bug("passed-deadline")
async def test_a_group_that_was_cancelled_before_it_was_entered() -> None:
    """The scope of a task group remembers a cancel that came before its block."""
    group = bridgeio.create_task_group()
    group.cancel_scope.cancel()
    async with group:
        await bridgeio.sleep_forever()
    assert group.cancel_scope.cancelled_caught


@pytest.mark.bridgeio_bug("stale-state")
async def test_a_cancel_that_nobody_heard() -> None:
    """A scope that was cancelled, and left before any wait, leaves no cancellation behind, in any place."""
    for _ in range(3):
        with bridgeio.CancelScope() as scope:
            scope.cancel()
        assert not scope.cancelled_caught
        await bridgeio.sleep(0)
        async with bridgeio.create_task_group() as group:
            group.cancel_scope.cancel()
        await bridgeio.sleep(0.001)
        with bridgeio.CancelScope() as later:
            await bridgeio.sleep(0.001)
        assert not later.cancelled_caught


@pytest.mark.bridgeio_bug("stale-state")
@pytest.mark.bridgeio_needs("native_await_cancelled")
async def test_a_foreign_wait_that_was_cancelled_leaves_nothing(native: Native) -> None:
    """After a scope that ended a foreign wait, foreign waits and ours go on as if nothing had been."""
    for _ in range(3):
        with bridgeio.move_on_after(0.001):
            await native.wait_forever()
        await native.give_way(3)
        await bridgeio.sleep(0.001)


@pytest.mark.bridgeio_bug("abandoned-children")
async def test_a_group_that_is_cancelled_while_it_waits_for_children() -> None:
    """The group's end is itself a wait: cancelled there, it still waits until the last child has ended."""
    log: list[str] = []

    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.002)
            log.append("child")

    async def block() -> None:
        async with bridgeio.create_task_group() as inner:
            inner.start_soon(child)
            inner.start_soon(child)
        log.append("too far")

    async with bridgeio.create_task_group() as group:
        group.start_soon(block)
        await bridgeio.sleep(0.002)
        group.cancel_scope.cancel()
    assert log == ["child", "child"]


@pytest.mark.bridgeio_bug("group-of-cancellations")
async def test_nothing_but_cancellations_is_a_plain_cancellation() -> None:
    """Host and children cancelled together: what passes by is the class itself, which ``except`` finds."""
    seen: list[bool] = []
    with bridgeio.CancelScope() as outer:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(bridgeio.sleep_forever)
                group.start_soon(bridgeio.sleep_forever)
                outer.cancel()
                await bridgeio.sleep_forever()
        except BaseException as error:
            seen.append(isinstance(error, bridgeio.get_cancelled_exc_class()))
            raise
    assert outer.cancelled_caught
    assert seen == [True]


@pytest.mark.bridgeio_bug("lost-after-shield")
async def test_a_cancel_that_came_behind_a_shield() -> None:
    """A task cancelled from outside while a shielded scope waits: the wait after that scope is cancelled."""
    log: list[str] = []
    finish, outer = bridgeio.Event(), bridgeio.CancelScope()

    async def task() -> None:
        with outer:
            with bridgeio.CancelScope(shield=True):
                await finish.wait()
                log.append("shielded")
            await bridgeio.sleep_forever()

    async with bridgeio.create_task_group() as group:
        group.start_soon(task)
        await until(lambda: finish.statistics().tasks_waiting)
        outer.cancel()
        await bridgeio.sleep(0)
        finish.set()
    assert outer.cancelled_caught
    assert log == ["shielded"]


@pytest.mark.bridgeio_bug("lost-after-shield")
@pytest.mark.bridgeio_needs("native_await_cancelled")
async def test_a_cancel_that_came_behind_a_shield_reaches_a_foreign_wait(native: Native) -> None:
    """The same where the wait after the shield is the framework's own."""
    finish, outer = bridgeio.Event(), bridgeio.CancelScope()

    async def task() -> None:
        with outer:
            with bridgeio.CancelScope(shield=True):
                await finish.wait()
            await native.wait_forever()

    async with bridgeio.create_task_group() as group:
        group.start_soon(task)
        await until(lambda: finish.statistics().tasks_waiting)
        outer.cancel()
        await native.give_way(2)
        finish.set()
    assert outer.cancelled_caught


@pytest.mark.bridgeio_bug("lost-result")
async def test_a_value_of_start_is_not_lost() -> None:
    """``started(value)`` and a cancel of the caller in one breath: the value wins, the next wait is cancelled."""
    log: list[str] = []
    scope = bridgeio.CancelScope()

    async def child(*, task_status: bridgeio.TaskStatus[str]) -> None:
        task_status.started("value")
        scope.cancel()
        log.append("child goes on")

    async with bridgeio.create_task_group() as group:
        with scope:
            log.append(await group.start(child))
            await bridgeio.sleep(0)
            log.append("too far")
    assert scope.cancelled_caught
    assert sorted(log) == ["child goes on", "value"]


@pytest.mark.bridgeio_bug("false-timeout")
async def test_a_deadline_that_passes_after_a_cancel_by_hand() -> None:
    """``fail_after`` cancelled by hand, whose cleanup outlasts the deadline, ends quietly."""
    with bridgeio.fail_after(0.002) as scope:
        try:
            scope.cancel()
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep_until(scope.deadline + 0.001)
    assert scope.cancelled_caught


@pytest.mark.bridgeio_bug("false-timeout")
async def test_a_deadline_inside_a_scope_that_was_cancelled() -> None:
    """``fail_after`` in a scope that ends by hand is no TimeoutError, though its time passes on the way out."""
    with bridgeio.CancelScope() as outer, bridgeio.fail_after(0.002) as inner:
        try:
            outer.cancel()
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep_until(inner.deadline + 0.001)
    assert outer.cancelled_caught
    assert not inner.cancelled_caught


@pytest.mark.bridgeio_bug("shared-shield")
async def test_a_shield_of_the_host_is_not_its_childrens() -> None:
    """A group's host that shields itself inside the block is waited for; its children are cancelled at once."""
    log: list[str] = []

    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            log.append("child")

    async with bridgeio.create_task_group() as group:
        group.start_soon(child)
        with bridgeio.CancelScope(shield=True):
            await bridgeio.sleep(0.001)
            group.cancel_scope.cancel()
            await until(lambda: log)
            log.append("host")
    assert log == ["child", "host"]


@pytest.mark.bridgeio_bug("shared-shield")
async def test_a_shield_of_one_child_is_not_its_siblings() -> None:
    """A child that shields itself does not keep the cancel from the others."""
    log: list[str] = []

    async def shielded() -> None:
        with bridgeio.CancelScope(shield=True):
            await until(lambda: "sibling" in log)
            log.append("shielded")

    async def sibling() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            log.append("sibling")

    async with bridgeio.create_task_group() as group:
        group.start_soon(shielded)
        group.start_soon(sibling)
        await bridgeio.sleep(0.001)
        group.cancel_scope.cancel()
    assert log == ["sibling", "shielded"]


@pytest.mark.bridgeio_bug("swallowed-by-inner")
async def test_an_outer_cancel_while_an_inner_one_is_under_way() -> None:
    """An inner scope is cancelled, and on its way out an outer one: no wait goes through after the inner one."""
    log: list[str] = []
    with bridgeio.CancelScope() as outer:
        with bridgeio.CancelScope() as inner:
            try:
                inner.cancel()
                await bridgeio.sleep_forever()
            finally:
                outer.cancel()
        await bridgeio.sleep(0)
        log.append("too far")
    assert outer.cancelled_caught
    assert log == []


# Each goes on at once, wherever it is called: nothing in it has to wait.
async def _leave_a_group() -> None:
    async with bridgeio.create_task_group():
        pass


async def _leave_a_cancelled_group() -> None:
    async with bridgeio.create_task_group() as group:
        group.cancel_scope.cancel()


async def _try_to_sleep() -> None:
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        await bridgeio.sleep(1)


async def _try_to_enter_a_group() -> None:
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        async with bridgeio.create_task_group():
            pass


async def _let_time_be_over() -> None:
    with bridgeio.move_on_after(0):
        await bridgeio.lowlevel.checkpoint_if_cancelled()


HASTE: dict[str, Callable[[], Awaitable[None]]] = {
    "a group": _leave_a_group,
    "a cancelled group": _leave_a_cancelled_group,
    "a cancelled sleep": _try_to_sleep,
    "a group in a cancelled scope": _try_to_enter_a_group,
    "a deadline that has passed": _let_time_be_over,
}


@pytest.mark.bridgeio_bug("starvation")
@pytest.mark.parametrize("name", HASTE)
async def test_haste_lets_others_run(name: str) -> None:
    """Code that never has to wait, because it is cancelled or has nothing to wait for, gives way all the same."""
    rounds, turns = 0, 0

    async def other() -> None:
        nonlocal turns
        for _ in range(3):
            await bridgeio.sleep(0)
            turns += 1

    async with bridgeio.create_task_group() as group:
        group.start_soon(other)
        while turns < 3 and rounds < 10_000:
            rounds += 1
            await HASTE[name]()
    assert rounds < 10_000


@pytest.mark.bridgeio_bug("left-elsewhere")
async def test_a_scope_that_is_left_in_another_task() -> None:
    """A RuntimeError in the task that leaves it says so, and names that task."""
    scope, entered, left = bridgeio.CancelScope(), bridgeio.Event(), bridgeio.Event()
    errors: list[str] = []

    async def owner() -> None:
        scope.__enter__()
        entered.set()
        await left.wait()
        scope.__exit__(None, None, None)

    async def leaver() -> None:
        await entered.wait()
        with pytest.raises(RuntimeError) as caught:
            scope.__exit__(None, None, None)
        errors.append(str(caught.value))
        left.set()

    async with bridgeio.create_task_group() as group:
        group.start_soon(owner)
        group.start_soon(leaver, name="the one who leaves")
    assert "the one who leaves" in errors[0]


@pytest.mark.bridgeio_bug("left-elsewhere")
async def test_a_scope_that_is_left_before_one_inside_it() -> None:
    """A RuntimeError says so, and names the task."""
    errors: list[str] = []

    async def task() -> None:
        outer, inner = bridgeio.CancelScope(), bridgeio.CancelScope()
        outer.__enter__()
        inner.__enter__()
        with pytest.raises(RuntimeError) as caught:
            outer.__exit__(None, None, None)
        errors.append(str(caught.value))
        with suppress(RuntimeError):  # Trio has told all by then
            inner.__exit__(None, None, None)

    async with bridgeio.create_task_group() as group:
        group.start_soon(task, name="the one who confuses them")
    assert "the one who confuses them" in errors[0]
    assert "inside it" in errors[0] or "within its child" in errors[0]


@pytest.mark.bridgeio_bug("left-elsewhere", "abandoned-children")
async def test_a_group_that_is_left_in_another_task() -> None:
    """A RuntimeError names both tasks; the children, for which nobody will wait, are cancelled."""
    group, entered, left = bridgeio.create_task_group(), bridgeio.Event(), bridgeio.Event()
    errors: list[str] = []
    ended: list[str] = []

    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            ended.append("child")

    async def owner() -> None:
        await group.__aenter__()
        group.start_soon(child)
        await bridgeio.sleep(0.001)
        entered.set()
        with bridgeio.CancelScope(shield=True):
            await left.wait()
        await group.__aexit__(None, None, None)

    async def leaver() -> None:
        await entered.wait()
        with pytest.raises(RuntimeError) as caught:
            await group.__aexit__(None, None, None)
        errors.append(str(caught.value))
        left.set()

    async with bridgeio.create_task_group() as outer:
        outer.start_soon(owner, name="the owner")
        outer.start_soon(leaver, name="the one who leaves")
    assert "the owner" in errors[0]
    assert "the one who leaves" in errors[0]
    assert ended == ["child"]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
