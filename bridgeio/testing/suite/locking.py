"""Chapter: locking. Whose a lock is, and what a condition does with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


# Locks


async def test_a_lock_taken_twice() -> None:
    """A task that holds a lock and acquires it again gets a RuntimeError that names it, and no deadlock."""
    lock = bridgeio.Lock()
    name = bridgeio.get_current_task().name
    async with lock:
        with pytest.raises(RuntimeError, match=f"{name} holds this Lock already"):
            await lock.acquire()
        with pytest.raises(RuntimeError, match=f"{name} holds this Lock already"):
            lock.acquire_nowait()
        assert lock.locked()
    assert not lock.locked()


async def test_a_lock_released_by_another_task() -> None:
    """Only its owner releases a lock; the error names both tasks, and the lock is held on."""
    lock = bridgeio.Lock()

    async def thief() -> None:
        with pytest.raises(RuntimeError, match="the thief does not hold this Lock: the owner holds it"):
            lock.release()

    async def own() -> None:
        async with lock, bridgeio.create_task_group() as group:
            group.start_soon(thief, name="the thief")
        with pytest.raises(RuntimeError, match="the owner does not hold this Lock: nobody holds it"):
            lock.release()

    async with bridgeio.create_task_group() as group:
        group.start_soon(own, name="the owner")
    assert not lock.locked()


async def test_what_a_lock_says_of_itself() -> None:
    """``statistics`` has the owner, and changes owner at the release, before that one goes on."""
    lock = bridgeio.Lock()
    assert lock.statistics() == bridgeio.LockStatistics(locked=False, owner=None, tasks_waiting=0)

    async def wait() -> None:
        async with lock:
            assert lock.statistics().owner == bridgeio.get_current_task()

    async with bridgeio.create_task_group() as group:
        await lock.acquire()
        group.start_soon(wait, name="the next one")
        await until(lambda: lock.statistics().tasks_waiting)
        assert lock.statistics() == bridgeio.LockStatistics(True, bridgeio.get_current_task(), 1)
        lock.release()
        owner = lock.statistics().owner
        assert owner is not None
        assert owner.name == "the next one"
        assert lock.statistics().tasks_waiting == 0


async def test_an_error_in_the_block_releases_the_lock() -> None:
    """What is raised inside ``async with`` comes out, and the lock is free."""
    lock = bridgeio.Lock()
    with pytest.raises(KeyError):
        async with lock:
            raise KeyError
    assert not lock.locked()


async def test_a_lock_taken_again_and_again_lets_others_run() -> None:
    """A lock that is always free is no way to keep the others from running: that has its bound."""
    lock, turns = bridgeio.Lock(), 0
    done = False

    async def count() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await bridgeio.sleep(0)

    async with bridgeio.create_task_group() as group:
        group.start_soon(count)
        await until(lambda: turns)
        before = turns
        for _ in range(1000):
            async with lock:
                pass
        assert turns > before
        done = True


# Conditions


class Waiting:
    """A task that waits for a condition, and what has become of it."""

    def __init__(self) -> None:
        self.scope = bridgeio.CancelScope()
        self.seen: list[str] = []

    async def wait(self, condition: bridgeio.Condition) -> None:
        async with condition:
            with self.scope:
                await condition.wait()
                self.seen.append("notified")
                await bridgeio.lowlevel.checkpoint()
                self.seen.append("went on")
            owner = condition.statistics().lock_statistics.owner
            self.seen.append("has the lock" if owner == bridgeio.get_current_task() else "has lost the lock")


async def waiting_for(group: bridgeio.TaskGroup, condition: bridgeio.Condition, number: int) -> list[Waiting]:
    """Tasks that wait, in the order of this list."""
    tasks = [Waiting() for _ in range(number)]
    for position, task in enumerate(tasks):
        group.start_soon(task.wait, condition)
        await until(lambda position=position: condition.statistics().tasks_waiting == position + 1)  # type: ignore[misc]
    return tasks


NOTIFIED = ["notified", "went on", "has the lock"]


async def test_notify_wakes_those_who_came_first() -> None:
    """``notify(n)`` wakes n tasks, in their order, ``notify_all`` all of them; each has the lock when it goes on."""
    condition = bridgeio.Condition()
    async with bridgeio.create_task_group() as group:
        tasks = await waiting_for(group, condition, 5)
        async with condition:
            condition.notify()
        await until(lambda: tasks[0].seen == NOTIFIED)
        async with condition:
            condition.notify(2)
        await until(lambda: tasks[2].seen == NOTIFIED)
        assert [task.seen for task in tasks] == [NOTIFIED, NOTIFIED, NOTIFIED, [], []]
        async with condition:
            condition.notify_all()
            assert condition.statistics().tasks_waiting == 0
    assert [task.seen for task in tasks] == [NOTIFIED] * 5
    assert not condition.locked()


async def test_the_notified_go_on_in_their_order() -> None:
    """Each has the lock in its turn, and none is overtaken, whatever order the host runs its tasks in."""
    condition, order = bridgeio.Condition(), list[int]()

    async def wait(number: int) -> None:
        async with condition:
            await condition.wait()
            order.append(number)

    async with bridgeio.create_task_group() as group:
        for number in range(20):
            group.start_soon(wait, number)
            await until(lambda number=number: condition.statistics().tasks_waiting == number + 1)  # type: ignore[misc]
        async with condition:
            condition.notify_all()
    assert order == list(range(20))


async def test_a_notification_nobody_waits_for() -> None:
    """It is lost, as everywhere: who waits after it waits for the next."""
    condition = bridgeio.Condition()
    async with condition:
        condition.notify(3)
        with bridgeio.move_on_after(0.002) as scope:
            await condition.wait()
    assert scope.cancelled_caught
    assert not condition.locked()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.bridgeio_bug("lost-grant")
async def test_a_notification_and_then_a_cancel(turns: int) -> None:
    """Who was notified and is cancelled then is notified; its next wait is cancelled, and it has the lock."""
    condition = bridgeio.Condition()
    async with bridgeio.create_task_group() as group:
        first, second = await waiting_for(group, condition, 2)
        async with condition:
            condition.notify()
        for _ in range(turns):
            await bridgeio.sleep(0)
        first.scope.cancel()
        await until(lambda: "has the lock" in first.seen)
        assert first.seen[0] == "notified"
        assert first.scope.cancelled_caught == ("went on" not in first.seen)
        assert turns or first.scope.cancelled_caught
        assert second.seen == []
        second.scope.cancel()
    assert second.seen == ["has the lock"]
    assert not condition.locked()


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.bridgeio_bug("lost-grant")
async def test_a_cancel_and_then_a_notification(turns: int) -> None:
    """A notification never goes to a task that was cancelled before it: the next one gets it."""
    condition = bridgeio.Condition()
    async with bridgeio.create_task_group() as group:
        first, second = await waiting_for(group, condition, 2)
        await condition.acquire()
        first.scope.cancel()
        for _ in range(turns):
            await bridgeio.sleep(0)
        condition.notify()
        condition.release()
    assert first.seen == ["has the lock"]
    assert second.seen == NOTIFIED
    assert not condition.locked()


async def test_a_cancelled_wait_waits_for_the_lock() -> None:
    """A cancel of ``wait`` does not shorten the wait for the lock, and a second cancel does not either."""
    condition = bridgeio.Condition()
    async with bridgeio.create_task_group() as group:
        (task,) = await waiting_for(group, condition, 1)
        async with condition:
            for _ in range(2):
                task.scope.cancel()
                await until(lambda: condition.statistics().lock_statistics.tasks_waiting == 1)
                await bridgeio.sleep(0.001)
            assert task.seen == []
    assert task.seen == ["has the lock"]
    assert task.scope.cancelled_caught


async def test_all_who_wait_for_a_condition_are_cancelled() -> None:
    """200 tasks, half of them notified and all cancelled: all end with the lock, one after the other."""
    condition = bridgeio.Condition()
    tasks = [Waiting() for _ in range(200)]
    async with bridgeio.create_task_group() as group:
        for task in tasks:
            group.start_soon(task.wait, condition)
        await until(lambda: condition.statistics().tasks_waiting == 200)
        async with condition:
            condition.notify(100)
            for task in tasks:
                task.scope.cancel()
    assert sorted(task.seen[-2:] for task in tasks) == [["has the lock"]] * 100 + [["notified", "has the lock"]] * 100
    assert condition.statistics() == bridgeio.ConditionStatistics(0, bridgeio.LockStatistics(False, None, 0))


async def test_a_cancelled_task_does_not_wait() -> None:
    """In a cancelled scope ``wait`` and ``wait_for`` raise before they give the lock up, and ask nothing."""
    condition, asked = bridgeio.Condition(), []

    async def wait_for() -> None:
        await condition.wait_for(lambda: asked.append("asked"))

    async with condition:
        for operation in (condition.wait, wait_for):
            with bridgeio.CancelScope() as scope:
                scope.cancel()
                await operation()
            assert scope.cancelled_caught
            assert condition.statistics().lock_statistics.owner == bridgeio.get_current_task()
    assert asked == []


async def test_wait_for_gives_what_the_predicate_gave() -> None:
    """``wait_for`` asks at once and after each notification, with the lock held, until the answer is true."""
    condition, items, asked = bridgeio.Condition(), list[str](), []

    def ask() -> list[str]:
        asked.append(condition.locked())
        return items

    async def put() -> None:
        for item in ("", "item"):
            await until(lambda: condition.statistics().tasks_waiting)
            async with condition:
                items.extend(filter(None, [item]))
                condition.notify()

    async with bridgeio.create_task_group() as group, condition:
        group.start_soon(put)
        assert await condition.wait_for(ask) is items
        assert await condition.wait_for(lambda: 7) == 7
    assert asked == [True] * 3


async def test_conditions_that_share_a_lock() -> None:
    """Two conditions over one lock: a notification of one is none of the other."""
    lock = bridgeio.Lock()
    full, empty = bridgeio.Condition(lock), bridgeio.Condition(lock)
    async with bridgeio.create_task_group() as group:
        (one,) = await waiting_for(group, full, 1)
        (other,) = await waiting_for(group, empty, 1)
        async with lock:
            full.notify_all()
        await until(lambda: one.seen == NOTIFIED)
        assert other.seen == []
        async with full:
            empty.notify()
    assert other.seen == NOTIFIED


CALLS: dict[str, Callable[[bridgeio.Condition], Any]] = {
    "wait": lambda condition: condition.wait(),
    "wait_for": lambda condition: condition.wait_for(bool),
    "notify": lambda condition: condition.notify(),
    "notify_all": lambda condition: condition.notify_all(),
    "release": lambda condition: condition.release(),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_condition_without_its_lock(name: str) -> None:
    """What needs the lock says so, and who has it, when the calling task does not."""
    condition = bridgeio.Condition()

    async def call(holder: str) -> None:
        with pytest.raises(RuntimeError, match=f"the caller does not hold (this|the) Lock.*: {holder}"):
            await CALLS[name](condition)

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(call, "nobody holds it", name="the caller")
        async with condition, bridgeio.create_task_group() as group:
            group.start_soon(call, "the holder holds it", name="the caller")

    async with bridgeio.create_task_group() as group:
        group.start_soon(main, name="the holder")


def test_a_condition_in_one_run_after_another(backend: str, backend_options: dict[str, Any]) -> None:
    """A condition that tasks of one run waited for serves the next run."""
    condition = bridgeio.Condition()
    seen: list[list[str]] = []

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            tasks = await waiting_for(group, condition, 2)
            async with condition:
                condition.notify()
            await until(lambda: tasks[0].seen == NOTIFIED)
            group.cancel_scope.cancel()
        seen.append(tasks[0].seen)

    for _ in range(2):
        bridgeio.run(main, backend=backend, backend_options=backend_options)
    assert seen == [NOTIFIED] * 2


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
