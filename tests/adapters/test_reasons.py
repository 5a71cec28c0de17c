"""Why a task was cancelled stands in the exception. (Trio says it in its own words, from version 0.31 on.)"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

import bridgeio

pytestmark = pytest.mark.bridgeio("asyncio", "uvloop", "tornado", "twisted", "gevent", "threads")


async def _wait(heard: list[str]) -> None:
    """Notes the text of the cancellation that ends it."""
    try:
        await bridgeio.sleep_forever()
    except bridgeio.get_cancelled_exc_class() as error:
        heard.append(str(error))
        raise


async def _by_hand(heard: list[str]) -> None:
    with bridgeio.CancelScope() as scope:
        scope.cancel("enough")
        await _wait(heard)


async def _before_entering(heard: list[str]) -> None:
    scope = bridgeio.CancelScope()
    scope.cancel("too late")
    with scope:
        await _wait(heard)


async def _nearest(heard: list[str]) -> None:
    with bridgeio.CancelScope() as outer, bridgeio.CancelScope() as inner:
        outer.cancel("the outer one's")
        inner.cancel("the inner one's")
        await _wait(heard)


async def _first(heard: list[str]) -> None:
    with bridgeio.CancelScope() as scope:
        scope.cancel("the first")
        scope.cancel("the second")
        await _wait(heard)


async def _deadline(heard: list[str]) -> None:
    with bridgeio.move_on_after(0.001):
        await _wait(heard)


async def _before_the_deadline(heard: list[str]) -> None:
    while not heard:
        with bridgeio.CancelScope() as scope:
            scope.deadline = bridgeio.current_time() + 0.01
            scope.cancel("before the deadline")
            if bridgeio.current_time() < scope.deadline:  # else the machine stood still, and it was not
                with bridgeio.CancelScope(shield=True):
                    await bridgeio.sleep_until(scope.deadline + 0.001)
                await _wait(heard)


async def _sibling(heard: list[str]) -> None:
    async def fail() -> None:
        raise LookupError

    with suppress(ExceptionGroup):
        async with bridgeio.create_task_group() as group:
            group.start_soon(_wait, heard)
            await bridgeio.sleep(0)
            group.start_soon(fail)


async def _none(heard: list[str]) -> None:
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        await _wait(heard)


REASONS: dict[Callable[[list[str]], Awaitable[None]], str] = {
    _by_hand: "enough",
    _before_entering: "too late",
    _nearest: "the inner one's",
    _first: "the first",
    _deadline: "a deadline has passed",
    _before_the_deadline: "before the deadline",
    _sibling: "a task of the group failed with LookupError",
    _none: "",
}


@pytest.mark.parametrize("cancelled", REASONS, ids=lambda function: function.__name__.strip("_"))
async def test_the_reason_is_the_text_of_the_cancellation(cancelled: Callable[[list[str]], Awaitable[None]]) -> None:
    """By hand, by a deadline, by a sibling that failed: the task that is cancelled can see which, and a log can."""
    heard: list[str] = []
    await cancelled(heard)
    assert heard == [REASONS[cancelled]]
