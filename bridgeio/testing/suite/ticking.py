"""Chapter: ticking. ``every`` on the run's own clock: never too early, never in a burst, nothing lost by a cancel."""

from __future__ import annotations

from typing import Any

import pytest

import bridgeio
from bridgeio import every
from bridgeio.testing.meetings import when

pytestmark = pytest.mark.bridgeio

ROUNDING = 1e-6  # seconds


async def test_ticks_come_at_their_times() -> None:
    """The first comes at once, and tick n not before n distances have passed, however long the work takes."""
    begin = bridgeio.current_time()
    came: dict[int, float] = {}
    async for number in every(0.004):
        came[number] = bridgeio.current_time() - begin
        if len(came) == 6:
            break
        await bridgeio.sleep(0.003)
    assert min(came) == 0
    assert [number for number, time in came.items() if time < number * 0.004 - ROUNDING] == []


async def test_work_that_takes_too_long() -> None:
    """Ticks that were missed do not come later in a burst: the newest comes, and its number tells of the others."""
    begin = bridgeio.current_time()
    ticks = every(0.002)
    assert await anext(ticks) == 0
    await bridgeio.sleep(0.05)
    numbers = []
    for _ in range(4):
        numbers.append(await anext(ticks))
        assert bridgeio.current_time() >= begin + numbers[-1] * 0.002 - ROUNDING
    assert numbers[0] >= 24
    assert sorted(set(numbers)) == numbers


async def test_a_cancelled_wait_takes_no_tick() -> None:
    """Whether the cancel comes before the wait or in it: the wait ends, and can be begun again."""
    ticks = every(1000)
    for _ in range(2):
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await anext(ticks)
        assert scope.cancelled_caught
    assert await anext(ticks) == 0
    async with bridgeio.create_task_group() as group:
        for _ in range(2):
            with bridgeio.CancelScope() as scope:
                group.start_soon(when, lambda: ticks._busy, scope.cancel)
                await anext(ticks)
            assert scope.cancelled_caught


async def test_a_deadline_ends_the_waiting() -> None:
    """A loop over ticks ends with its scope, also where the next tick is far away."""
    numbers: list[int] = []
    with bridgeio.CancelScope() as scope:
        async for number in every(1000):
            numbers.append(number)
            scope.deadline = bridgeio.current_time() + 0.001
    assert scope.cancelled_caught
    assert numbers == [0]


async def test_ticks_are_for_one_task() -> None:
    """A second task that waits for the same ticks is a BusyError; the first goes on."""
    ticks = every(1000)
    assert await anext(ticks) == 0
    refused: list[int] = []

    async def second() -> None:
        with pytest.raises(bridgeio.BusyError):
            await anext(ticks)
        refused.append(1)

    async with bridgeio.create_task_group() as group:
        group.start_soon(anext, ticks)
        group.start_soon(when, lambda: ticks._busy, lambda: group.start_soon(second))
        group.start_soon(when, lambda: refused, group.cancel_scope.cancel)
    assert refused == [1]


async def test_ticks_give_way() -> None:
    """A loop whose every tick is late lets others have their turn."""
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await bridgeio.sleep(0)
            others += 1

    async with bridgeio.create_task_group() as group:
        group.start_soon(other)
        async for _ in every(1e-9):
            if others >= 3:
                break
        group.cancel_scope.cancel()


def test_ticks_in_one_run_after_the_other(backend: str, backend_options: dict[str, Any]) -> None:
    """Made outside any run, the ticks begin anew with number 0 in each: every run has a clock of its own."""
    ticks = every(0.001)

    async def take_two() -> tuple[int, int]:
        return await anext(ticks), await anext(ticks)

    for _ in range(2):
        first, second = bridgeio.run(take_two, backend=backend, backend_options=backend_options)
        assert first == 0
        assert second >= 1


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
