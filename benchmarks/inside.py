"""``python -m benchmarks.inside OPERATION SUBJECT SECONDS``: processor microseconds of one operation, in one process.

``switch`` is a turn of two tasks that wake each other by events, ``spawn`` a task started and joined, ``queue`` and
``stream`` an item put and got by two tasks, ``lock`` an uncontended lock taken and given back, ``scope`` and
``timeout`` the entering and leaving of a block that could be cancelled, or would be in time.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from time import process_time
from typing import Any

__all__ = ["OPERATIONS"]

Operation = Callable[[int], Awaitable[None]]
OPERATIONS = ("switch", "spawn", "queue", "stream", "lock", "scope", "timeout")


async def nothing() -> None:
    """What a spawned task does."""


class OfAsyncio:
    """In asyncio's own words."""

    async def switch(self, count: int) -> None:
        events = [asyncio.Event() for _ in range(2 * count)]
        other = asyncio.create_task(_answer(events))
        await _ask(events)
        await other

    async def spawn(self, count: int) -> None:
        for _ in range(count):
            async with asyncio.TaskGroup() as group:
                group.create_task(nothing())

    async def queue(self, count: int) -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(16)

        async def put() -> None:
            for number in range(count):
                await queue.put(number)

        other = asyncio.create_task(put())
        for _ in range(count):
            await queue.get()
        await other

    async def lock(self, count: int) -> None:
        lock = asyncio.Lock()
        for _ in range(count):
            async with lock:
                pass

    async def timeout(self, count: int) -> None:
        for _ in range(count):
            async with asyncio.timeout(60):  # noqa: ASYNC100 (the block itself is what is measured)
                pass

    scope = timeout  # it has no block that can be cancelled and has no deadline


class OfScopes:
    """In the words that Trio, AnyIO and bridgeio share.

    :ivar library: the module.
    :ivar open_group: makes a task group.
    :ivar open_stream: makes both ends of a stream of objects within one process.
    """

    def __init__(self, library: Any, open_group: Callable[[], Any], open_stream: Callable[[int], Any]) -> None:
        self._library = library
        self._open_group = open_group
        self._open_stream = open_stream

    async def switch(self, count: int) -> None:
        events = [self._library.Event() for _ in range(2 * count)]
        async with self._open_group() as group:
            group.start_soon(_answer, events)
            await _ask(events)

    async def spawn(self, count: int) -> None:
        for _ in range(count):
            async with self._open_group() as group:
                group.start_soon(nothing)

    async def stream(self, count: int) -> None:
        send, receive = self._open_stream(16)

        async def put() -> None:
            for number in range(count):
                await send.send(number)

        async with self._open_group() as group:
            group.start_soon(put)
            for _ in range(count):
                await receive.receive()

    async def lock(self, count: int) -> None:
        lock = self._library.Lock()
        for _ in range(count):
            async with lock:
                pass

    async def scope(self, count: int) -> None:
        new_scope = self._library.CancelScope
        for _ in range(count):
            with new_scope():
                pass

    async def timeout(self, count: int) -> None:
        move_on_after = self._library.move_on_after
        for _ in range(count):
            with move_on_after(60):
                pass


class OfBridgeio(OfScopes):
    """With asyncio's queue, too."""

    async def queue(self, count: int) -> None:
        queue = self._library.Queue(16)

        async def put() -> None:
            for number in range(count):
                await queue.put(number)

        async with self._open_group() as group:
            group.start_soon(put)
            for _ in range(count):
                await queue.get()


async def _ask(events: list[Any]) -> None:
    for number in range(0, len(events), 2):
        events[number].set()
        await events[number + 1].wait()


async def _answer(events: list[Any]) -> None:
    for number in range(0, len(events), 2):
        await events[number].wait()
        events[number + 1].set()


def words(subject: str) -> tuple[Any, Callable[[Callable[[], Any]], None]]:
    """A library's operations, and how it is run."""
    library, _, backend = subject.partition(" on ")
    if library == "bridgeio":
        import bridgeio

        mine = OfBridgeio(bridgeio, bridgeio.create_task_group, bridgeio.create_memory_object_stream)
        return mine, lambda main: bridgeio.run(main, backend=backend)
    if library == "anyio":
        import anyio

        theirs = OfScopes(anyio, anyio.create_task_group, anyio.create_memory_object_stream[int])
        options: dict[str, Any] = {"use_uvloop": True} if backend == "uvloop" else {}
        host = "trio" if backend == "trio" else "asyncio"
        return theirs, lambda main: anyio.run(main, backend=host, backend_options=options)
    if library == "trio itself":
        import trio

        return OfScopes(trio, trio.open_nursery, trio.open_memory_channel), trio.run
    if library == "uvloop itself":
        import uvloop

        return OfAsyncio(), lambda main: uvloop.run(main())
    return OfAsyncio(), lambda main: asyncio.run(main())


def main(operation: str, subject: str, seconds: str) -> None:
    library, run = words(subject)
    perform: Operation = getattr(library, operation)
    figures: list[float] = []

    async def measure() -> None:
        count, spent = 500, 0.0
        while spent < float(seconds) / 2:
            count *= 2
            begun = process_time()
            await perform(count)
            spent = process_time() - begun
        figures.append(spent / count * 1e6)

    run(measure)
    print(figures[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
