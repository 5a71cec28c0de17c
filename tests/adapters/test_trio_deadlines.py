"""Deadlines that are put off again and again: our timers see to them, and Trio tells them all the while."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

import bridgeio
import bridgeio_trio.host
from bridgeio.registry import current_host

T = TypeVar("T")


def run_mocked(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs on a clock that jumps to the next deadline whenever nothing else can happen."""
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def passed_until_the_end_of(scope: bridgeio.CancelScope, *deadlines: float) -> int:
    """Moves the deadline of a scope that is entered, and looks at each step what Trio says."""
    begun = trio.current_time()
    with scope:
        for deadline in deadlines:
            scope.deadline = begun + deadline
            assert trio.current_effective_deadline() == scope.deadline == begun + deadline
            await trio.lowlevel.checkpoint()
        with trio.move_on_after(5000):
            await trio.sleep_forever()
    return round(trio.current_time() - begun)


@pytest.mark.parametrize("with_slots", [True, False], ids=["slots as we know them", "no such slots"])
@pytest.mark.parametrize(
    ("deadlines", "last"),
    [
        ((20,), 20),
        ((20, 30, 1000), 1000),
        ((20, 30, 5), 5),
        ((20, 30, 5, 40, 50), 50),
        ((20, 30, math.inf), 5000),
        ((math.inf, 30, 40, 60), 60),
    ],
)
def test_trio_tells_and_keeps_a_deadline(
    monkeypatch: pytest.MonkeyPatch, deadlines: tuple[float, ...], last: int, with_slots: bool
) -> None:
    """The one that was set last, however often and in which direction it was moved; also on a Trio that has put
    another thing in the place of what we write to."""
    if not with_slots:
        monkeypatch.setattr(bridgeio_trio.host, "show_deadline", None)

    async def main() -> None:
        scope = bridgeio.move_on_after(10)
        assert await passed_until_the_end_of(scope, *deadlines) == last
        assert scope.cancelled_caught == (last < 5000)
        assert len(current_host().timers) == 0

    run_mocked(main)


def test_a_deadline_that_was_put_off_cancels_in_trios_words() -> None:
    """It is Trio that looks at the clock in the end."""

    async def main() -> list[str]:
        told = []
        for moves in (1, 3):
            with bridgeio.move_on_after(10) as scope:
                for _ in range(moves):
                    scope.deadline += 10
                try:
                    await trio.sleep_forever()
                except trio.Cancelled as error:
                    told.append(str(error))
                    raise
        return told

    once, often = run_mocked(main)
    assert once == often


def test_a_busy_task_finds_that_its_deadline_has_passed() -> None:
    """``cancel_called`` goes by the clock, and the next wait is cancelled."""

    async def main() -> None:
        clock: Any = trio.lowlevel.current_clock()
        with bridgeio.move_on_after(10) as scope:
            scope.deadline += 10
            scope.deadline += 10
            called = []
            for seconds in (29, 2):
                clock.jump(seconds)
                called.append(scope.cancel_called)
            assert called == [False, True]
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught

    run_mocked(main)


def test_who_moves_a_nurserys_deadline_by_trio_is_heeded() -> None:
    """A group's nursery is there for everybody: what Trio was told last counts, earlier or later than ours."""

    async def main() -> list[int]:
        begun = trio.current_time()
        passed = []
        for last in (5, 100):
            async with bridgeio.create_task_group() as group:
                for ours in (20, 30, 40):
                    group.cancel_scope.deadline = trio.current_time() + ours
                native = trio.lowlevel.current_task().child_nurseries[-1].cancel_scope
                native.deadline = trio.current_time() + last
                await trio.sleep_forever()
            passed.append(round(trio.current_time() - begun))
        return passed

    assert run_mocked(main) == [5, 105]


def test_trio_has_it_back_when_the_run_ends() -> None:
    """Our timers end with the main task, and cleanup in a system task may take longer."""
    ended = []

    async def linger() -> None:
        with bridgeio.move_on_after(10, shield=True) as scope:
            scope.deadline += 10
            scope.deadline += 10
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with bridgeio.move_on_after(10, shield=True) as scope:
            scope.deadline += 10
            scope.deadline += 10
            await trio.sleep_forever()
        ended.append(scope.cancelled_caught)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(linger)
        await trio.testing.wait_all_tasks_blocked()

    run_mocked(main)
    assert ended == [True]
