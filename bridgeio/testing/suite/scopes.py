"""Chapter: scopes. Shields, deadlines, and scopes that are not left in order."""

from __future__ import annotations

from contextlib import suppress

import pytest

import bridgeio

pytestmark = pytest.mark.bridgeio


async def test_cleanup_has_its_own_deadline() -> None:
    """A shielded deadline in a cancelled scope ends its own block, and what stands after that still runs."""
    reached: list[str] = []
    with bridgeio.CancelScope() as outer:
        outer.cancel()
        with bridgeio.move_on_after(0.01, shield=True) as cleanup:
            await bridgeio.sleep_forever()
        reached.append("after the cleanup")
        await bridgeio.sleep(0)
        reached.append("too far")
    assert cleanup.cancelled_caught
    assert outer.cancelled_caught
    assert reached == ["after the cleanup"]


async def test_a_shielded_fail_after_is_an_error() -> None:
    """In a cancelled scope, too, a shielded ``fail_after`` says that its time is over."""
    with bridgeio.CancelScope() as outer:
        outer.cancel()
        with pytest.raises(TimeoutError), bridgeio.fail_after(0.01, shield=True):
            await bridgeio.sleep_forever()


async def test_a_passed_deadline_can_be_seen_inside() -> None:
    """``cancel_called`` tells of a deadline that has passed while the block is still being left."""
    seen: list[bool] = []
    with bridgeio.move_on_after(0.01) as scope:
        seen.append(scope.cancel_called)
        try:
            await bridgeio.sleep_forever()
        finally:
            seen.append(scope.cancel_called)
    assert seen == [False, True]


@pytest.mark.bridgeio_promise(8)
async def test_a_cancel_after_the_deadline_changes_nothing() -> None:
    """``fail_after`` whose deadline has passed is a `TimeoutError`, whoever cancels it then."""

    async def late() -> None:
        with bridgeio.fail_after(0.01) as scope:
            try:
                await bridgeio.sleep_forever()
            finally:
                scope.cancel()

    with pytest.raises(TimeoutError):
        await late()


async def test_a_deadline_that_passes_while_the_task_is_busy() -> None:
    """``cancel_called`` says so before the next wait, and a cancel by hand after it does not hide it."""

    async def busy() -> None:
        with bridgeio.fail_after(0.001) as scope:
            while bridgeio.current_time() <= scope.deadline:
                assert not scope.cancel_called or bridgeio.current_time() >= scope.deadline
            assert scope.cancel_called
            scope.cancel()
            await bridgeio.sleep_forever()

    with pytest.raises(TimeoutError):
        await busy()


async def test_a_deadline_set_after_the_block_does_nothing() -> None:
    """A scope that has been left is cancelled by nothing any more."""
    with bridgeio.CancelScope() as scope:
        await bridgeio.sleep(0)
    scope.deadline = bridgeio.current_time() - 1
    await bridgeio.sleep(0.001)
    assert not scope.cancel_called


@pytest.mark.bridgeio_bug("left-elsewhere")
async def test_scopes_left_out_of_order_do_not_haunt_the_task() -> None:
    """It is an error that says so, and neither scope is still around the task after it."""
    outer, inner = bridgeio.CancelScope(), bridgeio.CancelScope()
    outer.__enter__()
    inner.__enter__()
    with pytest.raises(RuntimeError):
        outer.__exit__(None, None, None)
    with suppress(RuntimeError):  # Trio has told all by then
        inner.__exit__(None, None, None)
    outer.cancel()
    inner.cancel()
    await bridgeio.sleep(0.001)


async def test_a_time_that_is_no_number() -> None:
    """NaN is refused, because no other deadline would come after it; and nothing has begun."""
    nan = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        await bridgeio.sleep(nan)
    for block in (bridgeio.move_on_after, bridgeio.fail_after, bridgeio.move_on_at):
        with pytest.raises(ValueError, match="NaN"):
            block(nan)
    with bridgeio.move_on_after(0.001) as scope:
        await bridgeio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(5)
async def test_a_cancelled_scope_lets_failures_through_as_they_are() -> None:
    """An exception group without a cancellation is nothing that the scope has caught."""
    failure = ValueError("mine")
    scope = bridgeio.CancelScope()

    async def fail() -> None:
        with scope:
            scope.cancel()
            raise ExceptionGroup("failures", [failure])

    with pytest.raises(ExceptionGroup, match="failures") as raised:
        await fail()
    assert raised.value.exceptions == (failure,)
    assert not scope.cancelled_caught


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
