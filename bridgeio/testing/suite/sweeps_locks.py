"""Chapter: sweeps of locks, conditions and barriers: nothing granted is lost, and nobody is left in line.

In these worlds somebody else has what the operation wants, until the operation waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio import lowlevel
from bridgeio.testing.neighbours import beside, soon
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio


# Locks

LOCKS: dict[str, Callable[[], Any]] = {
    "Lock": bridgeio.Lock,
    "Condition": bridgeio.Condition,
    "Semaphore": lambda: bridgeio.Semaphore(1),
    "CapacityLimiter": lambda: bridgeio.CapacityLimiter(1),
}


def _in_line(lock: Any) -> int:
    statistics = lock.statistics()
    waiting: int = getattr(statistics, "lock_statistics", statistics).tasks_waiting
    return waiting


@asynccontextmanager
async def _held_by_another(lock: Any) -> AsyncIterator[None]:
    """A block at whose beginning another task has the lock, until somebody wants it.

    :raises AssertionError: if anybody has it, or is in line for it, at the end.
    """

    async def hold(*, task_status: bridgeio.TaskStatus[None]) -> None:
        async with lock:
            task_status.started()
            await soon(lambda: _in_line(lock))

    async with beside(hold):
        yield
    assert _in_line(lock) == 0
    lock.acquire_nowait()
    lock.release()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", LOCKS)
async def test_swept_locks(name: str) -> None:
    """A lock that was wanted by a cancelled task is free afterwards, and can be had at once."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        lock = LOCKS[name]()

        async def operation() -> None:
            async with lock:
                await lowlevel.checkpoint()
            async with lock:
                await bridgeio.sleep(0.0002)

        async with _held_by_another(lock):
            yield operation

    await sweep(world, name=name)


ACQUIRES: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any], None]]] = {
    "Lock.acquire": ("Lock", lambda lock: lock.acquire(), lambda lock: lock.release()),
    "Condition.acquire": ("Condition", lambda lock: lock.acquire(), lambda lock: lock.release()),
    "Semaphore.acquire": ("Semaphore", lambda lock: lock.acquire(), lambda lock: lock.release()),
    "CapacityLimiter.acquire": ("CapacityLimiter", lambda lock: lock.acquire(), lambda lock: lock.release()),
    "CapacityLimiter.acquire_on_behalf_of": (
        "CapacityLimiter",
        lambda lock: lock.acquire_on_behalf_of("somebody"),
        lambda lock: lock.release_on_behalf_of("somebody"),
    ),
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", ACQUIRES)
async def test_swept_acquires(name: str) -> None:
    """A lock belongs to who has come back from ``acquire``; a cancel that comes out of it leaves nothing to release."""
    kind, acquire, release = ACQUIRES[name]

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        lock = LOCKS[kind]()

        async def operation() -> None:
            for _ in range(2):
                await acquire(lock)
                try:
                    await lowlevel.checkpoint()
                finally:
                    release(lock)

        async with _held_by_another(lock):
            yield operation

    await sweep(world, name=name)


@pytest.mark.bridgeio_promise(2)
async def test_two_that_want_a_swept_lock() -> None:
    """When the first in line is cancelled, in the turn of its grant too, the lock goes to the second."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        lock = bridgeio.Lock()
        second_had_it: list[bool] = []

        async def come_second() -> None:
            async with lock:
                second_had_it.append(True)

        async def hold(*, task_status: bridgeio.TaskStatus[None]) -> None:
            async with lock:
                task_status.started()
                await soon(lambda: _in_line(lock))
                others.start_soon(come_second)
                await soon(lambda: _in_line(lock) == 2)

        async def operation() -> None:
            async with lock:
                await lowlevel.checkpoint()

        async with bridgeio.create_task_group() as others, beside(hold):
            yield operation
            came = bool(_in_line(lock))
        assert not lock.locked()
        assert second_had_it or not came

    await sweep(world, name="Lock, two in line")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_condition() -> None:
    """A wait for a condition that is cancelled leaves the lock free, and its notification to the next."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        condition = bridgeio.Condition()
        notified: list[str] = []

        async def wait(name: str) -> None:
            async with condition:
                await condition.wait()
                notified.append(name)

        async def notify_one() -> None:
            async with condition:
                condition.notify()

        async def look_on(*, task_status: bridgeio.TaskStatus[None]) -> None:
            task_status.started()
            await soon(lambda: condition.statistics().tasks_waiting)
            others.start_soon(wait, "the second")
            await soon(lambda: condition.statistics().tasks_waiting == 2)
            others.start_soon(notify_one)

        async with bridgeio.create_task_group() as others:
            async with beside(look_on):
                yield lambda: wait("the first")
            while waiting := condition.statistics().tasks_waiting:
                await notify_one()
                assert condition.statistics().tasks_waiting == waiting - 1
        assert not condition.locked()

    await sweep(world, name="Condition.wait")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_wait_for_a_predicate() -> None:
    """Notified too early it waits on; whenever it is cancelled, the lock is free and nobody is in line."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        condition = bridgeio.Condition()
        is_ready = False

        async def notify(*, task_status: bridgeio.TaskStatus[None]) -> None:
            nonlocal is_ready
            task_status.started()
            for ready in (False, True):
                await soon(lambda: condition.statistics().tasks_waiting)
                async with condition:
                    is_ready = ready
                    condition.notify_all()

        async def operation() -> None:
            for _ in range(2):  # the second need not wait
                async with condition:
                    assert await condition.wait_for(lambda: is_ready)

        async with beside(notify):
            yield operation
        assert not condition.locked()
        assert condition.statistics().tasks_waiting == 0

    await sweep(world, name="Condition.wait_for")


async def _meet_in_a_block(barrier: bridgeio.Barrier) -> None:
    async with barrier:
        await lowlevel.cancel_shielded_checkpoint()


MEETINGS: dict[str, Callable[[bridgeio.Barrier], Coroutine[Any, Any, object]]] = {
    "Barrier.wait": lambda barrier: barrier.wait(),
    "async with barrier": _meet_in_a_block,
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", MEETINGS)
async def test_swept_barriers(name: str) -> None:
    """A party that is cancelled before the last has come is not counted; the others meet without it."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        barrier = bridgeio.Barrier(2)
        met: list[str] = []

        async def meet(who: str) -> None:
            await MEETINGS[name](barrier)
            met.append(who)

        async def come_second(*, task_status: bridgeio.TaskStatus[None]) -> None:
            task_status.started()
            await soon(lambda: barrier.n_waiting)
            await meet("second")

        async with beside(come_second):
            yield lambda: meet("first")
            if barrier.n_waiting:
                await meet("a stand-in")
        assert barrier.n_waiting == 0
        assert len(met) in (0, 2)

    await sweep(world, name=name)


SENDING_AWAY: dict[str, Callable[[bridgeio.Barrier], Coroutine[Any, Any, None]]] = {
    "Barrier.abort": lambda barrier: barrier.abort(),
    "Barrier.reset": lambda barrier: barrier.reset(),
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", SENDING_AWAY)
async def test_swept_ends_of_a_barrier(name: str) -> None:
    """Both have done their work before they raise or give way: nobody waits any longer."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        barrier = bridgeio.Barrier(2)

        async def meet_nobody() -> None:
            with pytest.raises(bridgeio.BrokenBarrierError):
                await barrier.wait()

        async with bridgeio.create_task_group() as group:
            group.start_soon(meet_nobody)
            await soon(lambda: barrier.n_waiting)
            yield lambda: SENDING_AWAY[name](barrier)
        assert barrier.broken == (name == "Barrier.abort")

    await sweep(world, name=name)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
