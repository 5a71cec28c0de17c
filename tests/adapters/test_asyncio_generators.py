"""Asynchronous generators in an application's own asyncio loop, which closes them in its own way at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import bridgeio
from bridgeio.registry import current_host
from loops import run_native

Numbers = AsyncGenerator[int, None]


def test_generators_that_a_loop_closes_may_wait(world: str) -> None:
    """``asyncio.run`` closes all at once when its tasks have ended; their cleanup still has bridgeio and its timers."""
    kept: list[Numbers] = []
    hosts: list[object] = []

    async def numbers() -> Numbers:
        try:
            yield 1
        finally:
            async with bridgeio.create_task_group() as group:
                group.start_soon(bridgeio.sleep, 0.001)
            hosts.append(current_host())

    async def native() -> None:
        hosts.append(current_host())
        for _ in range(3):
            kept.append(numbers())
            await anext(kept[-1])

    run_native(world, native)
    assert len(hosts) == 4
    assert len(set(map(id, hosts))) == 1


def test_a_shutdown_from_inside_does_not_wait_for_itself(world: str) -> None:
    """An application that calls ``shutdown_asyncgens`` in a task that has used bridgeio gets to its end."""

    async def native() -> str:
        await bridgeio.sleep(0)
        await asyncio.get_running_loop().shutdown_asyncgens()
        return "ended"

    assert run_native(world, native) == "ended"


def test_the_end_of_a_run_leaves_others_generators_alone(world: str) -> None:
    """A generator in the hands of a native task that is still at work is that task's, until the loop cancels it."""
    seen: list[str] = []
    tasks: list[asyncio.Task[Any]] = []

    async def numbers() -> Numbers:
        try:
            while True:
                await asyncio.sleep(0)
                yield 1
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def native() -> None:
        try:
            async for _ in numbers():
                await asyncio.sleep(0)
        finally:
            seen.append("cancelled")

    async def main() -> None:
        tasks.append(asyncio.create_task(native()))
        await bridgeio.sleep(0.001)

    bridgeio.run(main, backend=world)
    assert sorted(seen) == ["cancelled", "closed"]
    assert tasks[0].cancelled()
