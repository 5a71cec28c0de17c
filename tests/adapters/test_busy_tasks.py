"""A task that is busy with bridgeio and never has to wait hears of a native cancellation all the same.

Such a task only gives way, after work that must not be lost. What comes then is kept, and belongs to the
beginning of the next operation: kept again and again, it would be swallowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import peer_stream
from loops import run_native, turns

BUSY = [
    "checkpoint",
    "sleep",
    "event",
    "group",
    "read",
    "readexactly",
    "readinto",
    "readuntil",
    "discard",
    "drain",
    "end",
]
MANY = 50_000  # bytes to be read one by one; nobody here gets to their end

Operation = Callable[[], Coroutine[Any, Any, object]]


@asynccontextmanager
async def operation(kind: str) -> AsyncIterator[Operation]:
    """One that need not wait, however often it is called."""
    event = bridgeio.Event()
    event.set()

    async def group() -> None:
        async with bridgeio.create_task_group():
            pass

    async with peer_stream() as (reader, writer, peer), peer_stream() as (_, closed, _):
        closed.close()
        await closed.wait_closed()
        await peer.send_all(b"\n" * MANY)
        operations: dict[str, Operation] = {
            "checkpoint": bridgeio.lowlevel.checkpoint,
            "sleep": lambda: bridgeio.sleep(0),
            "event": event.wait,
            "group": group,
            "read": lambda: reader.read(1),
            "readexactly": lambda: reader.readexactly(1),
            "readinto": lambda: reader.readinto(bytearray(1)),
            "readuntil": reader.readuntil,
            "discard": reader.discard_until,
            "drain": writer.drain,
            "end": closed.wait_closed,
        }
        yield operations[kind]


async def repeat(operation: Operation) -> None:
    for _ in range(MANY):
        await operation()


@pytest.mark.parametrize("kind", BUSY)
def test_task_cancel_reaches_a_busy_task(world: str, kind: str) -> None:
    """``Task.cancel()`` ends a loop of operations none of which waits, soon and as what it is."""

    async def native() -> None:
        async with operation(kind) as busy:
            task = asyncio.create_task(repeat(busy))
            await turns()
            assert not task.done()
            task.cancel("mine")
            with pytest.raises(asyncio.CancelledError):
                await task

    run_native(world, native)


@pytest.mark.parametrize("kind", BUSY)
def test_asyncio_timeout_reaches_a_busy_task(world: str, kind: str) -> None:
    """``asyncio.timeout`` around such a loop ends it with TimeoutError, and the task goes on as if nothing had been."""

    async def native() -> int:
        task = asyncio.current_task()
        assert task is not None
        async with operation(kind) as busy:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await repeat(busy)
            await bridgeio.sleep(0.001)
            await repeat(busy) if kind == "event" else await busy()
        return task.cancelling()

    assert run_native(world, native) == 0


def test_a_cancellation_that_was_taken_back_does_not_come(world: str) -> None:
    """A timeout that expires while the last operation gives way, in a block that ends well, is not met later."""

    async def native() -> str:
        await bridgeio.lowlevel.checkpoint()
        async with asyncio.timeout(None) as timeout:
            timeout.reschedule(0)
            await bridgeio.lowlevel.checkpoint()
        await bridgeio.lowlevel.checkpoint()
        await bridgeio.sleep(0.001)
        return "went on"

    assert run_native(world, native) == "went on"
