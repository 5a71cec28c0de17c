"""Chapter: sweeps of queues, streams of objects and ticks: what was handed over is had once, by one of both sides.

In these worlds somebody else has what the operation wants, until the operation waits for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.neighbours import beside, soon
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio


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
                await soon(lambda: queue.statistics().tasks_waiting_get)
                await queue.put(item)

        async def get(count: int) -> None:
            for _ in range(count):
                got.append(await queue.get())
                queue.task_done()

        async with beside(put):
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
                await soon(lambda: queue.statistics().tasks_waiting_put)
                got.append(await queue.get())

        async def operation() -> None:
            for item in range(4):
                await queue.put(item)
                put.append(item)

        async with beside(get):
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
            await soon(lambda: queue.statistics().tasks_waiting_join)
            await queue.get()
            queue.task_done()

        async with beside(work):
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


async def _put_all(queue: bridgeio.Queue[int]) -> None:
    for item in range(3):
        await soon(lambda: queue.statistics().tasks_waiting_get)
        await queue.put(item)
    queue.shutdown()


async def _send_all(sending: bridgeio.MemoryObjectSendStream[int]) -> None:
    with sending:
        for item in range(3):
            await soon(lambda: sending.statistics().tasks_waiting_receive)
            await sending.send(item)


@asynccontextmanager
async def _items_of_a_queue() -> AsyncIterator[Any]:
    queue: bridgeio.Queue[int] = bridgeio.Queue(1)
    async with bridgeio.create_task_group() as group:
        group.start_soon(_put_all, queue)
        yield queue


@asynccontextmanager
async def _items_of_a_stream() -> AsyncIterator[Any]:
    sending, receiving = bridgeio.create_memory_object_stream[int](1)
    with receiving:
        async with bridgeio.create_task_group() as group:
            group.start_soon(_send_all, sending)
            yield receiving


ITEMS: dict[str, Callable[[], Any]] = {
    "async for item in queue": _items_of_a_queue,
    "async for item in stream": _items_of_a_stream,
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", ITEMS)
async def test_swept_iterations(name: str) -> None:
    """``async for`` that was cancelled and is begun again sees each item once, and the end."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with ITEMS[name]() as items:
            seen: list[int] = []

            async def operation() -> None:
                async for item in items:
                    seen.append(item)

            yield operation
            await operation()
            assert seen == [0, 1, 2]

    await sweep(world, name=name)


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
