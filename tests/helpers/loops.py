"""Event loops of asyncio's kind that a test starts itself, with bridgeio as a guest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["factory_of", "run_native", "turns"]


def run_native(world: str, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """An application's own loop, of the kind that the backend of that name stands for."""
    with asyncio.Runner(loop_factory=factory_of(world)) as runner:
        return runner.run(main())


def factory_of(world: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if world == "uvloop":
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory
    return asyncio.new_event_loop


async def turns(number: int = 3) -> None:
    """Lets the loop turn a few times."""
    for _ in range(number):
        await asyncio.sleep(0)
