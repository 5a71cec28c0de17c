"""Chapter: sweeps of locks, queues and streams of objects: nothing granted is lost, and nobody is left in line.

In these worlds somebody else has what the operation wants, until the operation waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio import lowlevel
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio


@asynccontextmanager
async def _beside(neighbour: Callable[..., Coroutine[Any, Any, object]]) -> AsyncIterator[None]:
    """A block with a task beside it, which says when the block may begin; what it does ends with the block."""
    async with bridgeio.create_task_group() as group:
        await group.start(neighbour)
        yield
        group.cancel_scope.cancel()


async def _until(condition: Callable[[], object]) -> None:
    while not condition():
        await bridgeio.sleep(0.0002)


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


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", LOCKS)
async def test_swept_locks(name: str) -> None:
    """A lock that was wanted by a cancelled task is free afterwards, and can be had at once."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        lock = LOCKS[name]()

        async def hold(*, task_status: bridgeio.TaskStatus[None]) -> None:
            async with lock:
                task_status.started()
                await _until(lambda: _in_line(lock))

        async def operation() -> None:
            async with lock:
                await lowlevel.checkpoint()
            async with lock:
                await bridgeio.sleep(0.0002)

        async with _beside(hold):
            yield operation
        assert _in_line(lock) == 0
        lock.acquire_nowait()
        lock.release()

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
                await _until(lambda: _in_line(lock))
                others.start_soon(come_second)
                await _until(lambda: _in_line(lock) == 2)

        async def operation() -> None:
            async with lock:
                await lowlevel.checkpoint()

        async with bridgeio.create_task_group() as others, _beside(hold):
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
            await _until(lambda: condition.statistics().tasks_waiting)
            others.start_soon(wait, "the second")
            await _until(lambda: condition.statistics().tasks_waiting == 2)
            others.start_soon(notify_one)

        async with bridgeio.create_task_group() as others:
            async with _beside(look_on):
                yield lambda: wait("the first")
            while waiting := condition.statistics().tasks_waiting:
                await notify_one()
                assert condition.statistics().tasks_waiting == waiting - 1
        assert not condition.locked()

    await sweep(world, name="Condition.wait")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_barrier() -> None:
    """A party that is cancelled before the last has come is not counted; the others meet without it."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        barrier = bridgeio.Barrier(2)
        met: list[str] = []

        async def meet(name: str) -> None:
            await barrier.wait()
            met.append(name)

        async def come_second(*, task_status: bridgeio.TaskStatus[None]) -> None:
            task_status.started()
            await _until(lambda: barrier.n_waiting)
            await meet("second")

        async with _beside(come_second):
            yield lambda: meet("first")
            if barrier.n_waiting:
                await meet("a stand-in")
        assert barrier.n_waiting == 0
        assert len(met) in (0, 2)

    await sweep(world, name="Barrier.wait")


# Things handed over


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("maxsize", [1, 0])
async def test_a_swept_get(maxsize: int) -> None:
    """An item that is put while a get is cancelled was got, or is still there."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        queue: bridgeio.Queue[int] = bridgeio.Queue(maxsize)
        got: list[int] = []

        async def put(*, task_status: bridgeio.TaskStatus[None]) -> None:
            task_status.started()
            for item in range(3):
                await _until(lambda: queue.statistics().tasks_waiting_get)
                await queue.put(item)

        async def get(count: int) -> None:
            for _ in range(count):
                got.append(await queue.get())
                queue.task_done()

        async with _beside(put):
            yield lambda: get(2)
            await get(3 - len(got))
            await queue.join()
        assert got == [0, 1, 2]

    await sweep(world, name=f"Queue({maxsize}).get")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_put() -> None:
    """An item whose put was cancelled is not in the queue; one whose put came back is, once and in order."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        queue: bridgeio.Queue[int] = bridgeio.Queue(1)
        put: list[int] = []
        got: list[int] = []

        async def get(*, task_status: bridgeio.TaskStatus[None]) -> None:
            task_status.started()
            while True:
                await _until(lambda: queue.statistics().tasks_waiting_put)
                got.append(await queue.get())

        async def operation() -> None:
            for item in range(4):
                await queue.put(item)
                put.append(item)

        async with _beside(get):
            yield operation
        while not queue.empty():
            got.append(queue.get_nowait())
        assert got == put

    await sweep(world, name="Queue.put")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_join() -> None:
    """Who waits for the end of a queue's tasks and is cancelled has changed nothing."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        queue: bridgeio.Queue[int] = bridgeio.Queue()
        queue.put_nowait(1)

        async def work(*, task_status: bridgeio.TaskStatus[None]) -> None:
            task_status.started()
            await _until(lambda: queue.statistics().tasks_waiting_join)
            await queue.get()
            queue.task_done()

        async with _beside(work):
            yield queue.join
            await queue.join()
        assert queue.statistics().tasks_waiting_join == 0

    await sweep(world, name="Queue.join")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("room", [0, 1])
async def test_swept_object_streams(room: int) -> None:
    """Whatever end is cancelled: what was received is what was sent, in order, and nothing is in between."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        sending, receiving = bridgeio.create_memory_object_stream[int](room)
        sent: list[int] = []
        received: list[int] = []

        async def send() -> None:
            for item in range(3):
                await sending.send(item)
                sent.append(item)

        async def receive() -> None:
            for _ in range(3):
                received.append(await receiving.receive())

        async def operation() -> None:
            async with bridgeio.create_task_group() as group:
                group.start_soon(send)
                group.start_soon(receive)

        with sending, receiving:
            yield operation
            statistics = receiving.statistics()
            assert (statistics.tasks_waiting_send, statistics.tasks_waiting_receive) == (0, 0)
            for _ in range(statistics.current_buffer_used):
                received.append(receiving.receive_nowait())
        assert received == sent

    await sweep(world, name=f"memory object stream({room})")


@pytest.mark.bridgeio_promise(2)
async def test_swept_ticks() -> None:
    """A cancelled wait for a tick leaves no timer, and the ticks go on from there."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        ticks = bridgeio.every(0.0003)
        seen: list[int] = []

        async def operation() -> None:
            for _ in range(3):
                seen.append(await ticks.__anext__())

        yield operation
        seen.append(await ticks.__anext__())
        assert seen == sorted(set(seen))

    await sweep(world, name="every")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
