"""Locks under each framework's own cancellation: it may come at the worst moment, and nothing is lost.

The frameworks differ in how a task is started and cancelled, and in nothing that is tested here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from native_starts import STARTS

MADE: dict[str, Callable[[], Any]] = {
    "Lock": bridgeio.Lock,
    "Semaphore": lambda: bridgeio.Semaphore(1),
    "CapacityLimiter": lambda: bridgeio.CapacityLimiter(1),
}


class Scene:
    """One who holds it, one who waits and is cancelled, and one who waits behind him."""

    def __init__(self, framework: str, thing: Any) -> None:
        self.start = STARTS[framework]
        self.thing = thing
        self.seen: list[str] = []

    async def victim(self) -> None:
        async with self.thing:
            self.seen.append("the victim")
            await bridgeio.sleep_forever()

    async def next_one(self) -> None:
        async with self.thing:
            self.seen.append("the next one")

    async def play(self, turns: int, *, release_first: bool) -> list[str]:
        thing = self.thing
        async with bridgeio.create_task_group() as group:
            await thing.acquire()
            cancel = self.start(group, self.victim)
            await until(lambda: thing.statistics().tasks_waiting == 1)
            group.start_soon(self.next_one)
            await until(lambda: thing.statistics().tasks_waiting == 2)
            first, second = (thing.release, cancel) if release_first else (cancel, thing.release)
            first()
            for _ in range(turns):
                await bridgeio.sleep(0)
            second()
        thing.acquire_nowait()
        return self.seen


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("kind", MADE)
def test_let_in_and_then_cancelled(framework: str, kind: str, turns: int) -> None:
    """A native cancel just after the release (#398): the task is in, and leaves at its next wait, for the next one."""
    scene = Scene(framework, MADE[kind]())
    assert bridgeio.run(lambda: scene.play(turns, release_first=True), backend=framework) == [
        "the victim",
        "the next one",
    ]


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("kind", MADE)
def test_cancelled_and_then_a_release(framework: str, kind: str, turns: int) -> None:
    """A native cancel just before the release: whether or not it came in time, the next one gets in, and it is free."""
    scene = Scene(framework, MADE[kind]())
    seen = bridgeio.run(lambda: scene.play(turns, release_first=False), backend=framework)
    assert seen[-1] == "the next one"
    assert turns < 4 or seen == ["the next one"]


@pytest.mark.parametrize("turns", range(5))
def test_a_condition_natively_cancelled(framework: str, turns: int) -> None:
    """Whoever is cancelled natively while it waits for a condition has the lock again when it cleans up, and the
    notification is somebody's."""
    condition, seen = bridgeio.Condition(), list[str]()

    async def wait(name: str) -> None:
        async with condition:
            try:
                await condition.wait()
                seen.append(name)
            finally:
                assert condition.statistics().lock_statistics.owner == bridgeio.get_current_task()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            cancel = STARTS[framework](group, lambda: wait("the victim"))
            await until(lambda: condition.statistics().tasks_waiting == 1)
            group.start_soon(wait, "the next one")
            await until(lambda: condition.statistics().tasks_waiting == 2)
            async with condition:
                condition.notify()
                cancel()
                for _ in range(turns):
                    await bridgeio.sleep(0)
            await until(lambda: seen)
            group.cancel_scope.cancel()

    bridgeio.run(main, backend=framework)
    assert len(seen) == 1
    assert not condition.locked()
