"""Chapter: sweeps of waits in a framework's own awaitables. Each ends in the framework's own way, once.

Code of the framework's cleans up after that with waits of its own, and none of them is cut short.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.natives import Native
from bridgeio.testing.sweeping import Moment, Operation, sweep

pytestmark = [
    pytest.mark.bridgeio,
    pytest.mark.bridgeio_needs("native_await_cancelled", "native_await_cancelled_once"),
]


class Guest:
    """Code that waits in the framework's own way, and once it is cancelled cleans up in that way.

    :ivar began: how often it has begun.
    :ivar ended: how often it has come to its end, that of its cleanup if it was cancelled.
    """

    def __init__(self, native: Native) -> None:
        self.began = 0
        self.ended = 0
        self._native = native

    async def work(self) -> None:
        self.began += 1
        try:
            await self._native.pause()
            await self._native.pause()
        except BaseException:
            await self._native.give_way(2)
            self.ended += 1
            raise
        self.ended += 1

    async def work_for_a_queue(self, queue: bridgeio.Queue[int]) -> None:
        await self.work()
        await queue.put(1)
        await self._native.pause()


async def _alone(guest: Guest) -> None:
    await guest.work()


async def _in_children(guest: Guest) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(guest.work)
        group.start_soon(guest.work)
        await guest.work()


async def _among_ours(guest: Guest) -> None:
    queue: bridgeio.Queue[int] = bridgeio.Queue(1)
    async with bridgeio.create_task_group() as group:
        group.start_soon(guest.work_for_a_queue, queue)
        await queue.get()
        await guest.work()


async def _behind_a_shield(guest: Guest) -> None:
    before = guest.ended
    with bridgeio.CancelScope(shield=True):
        await guest.work()
    assert guest.ended == before + 1
    await guest.work()


OPERATIONS: dict[str, Callable[[Guest], Coroutine[Any, Any, None]]] = {
    "a native wait": _alone,
    "native waits in children": _in_children,
    "native waits among ours": _among_ours,
    "native waits behind a shield": _behind_a_shield,
}


@pytest.mark.bridgeio_promise(3)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_swept_native_waits(name: str, native: Native) -> None:
    """Wherever the framework's own wait is ended, cleanup with waits of its own runs to its end, in children too."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        guest = Guest(native)
        yield lambda: OPERATIONS[name](guest)
        assert guest.ended == guest.began, "a cleanup was cut short"

    await sweep(world, name=name)


@pytest.mark.bridgeio_promise(3)
async def test_each_native_wait_is_told_once(native: Native) -> None:
    """The cancel comes out of the wait that it met, and out of none before or after it."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        seen: list[str] = []

        async def operation() -> None:
            for _ in range(3):
                try:
                    await native.pause()
                    seen.append("passed")
                except BaseException:
                    seen.append("cancelled")

        yield operation
        assert seen.count("cancelled") <= 1
        assert len(seen) == 3

    swept = await sweep(world, name="native waits in a row", moments=[Moment.NATIVE])
    assert swept.waits == 3


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
