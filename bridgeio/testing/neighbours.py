"""Tasks beside a swept operation: they have what it wants, and let it go when it waits for that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import bridgeio

__all__ = ["beside", "soon"]


@asynccontextmanager
async def beside(neighbour: Callable[..., Coroutine[Any, Any, object]]) -> AsyncIterator[None]:
    """A block with a task beside it, which says when the block may begin; what it does ends with the block."""
    async with bridgeio.create_task_group() as group:
        await group.start(neighbour)
        yield
        group.cancel_scope.cancel()


async def soon(condition: Callable[[], object]) -> None:
    """As `bridgeio.testing.until`, for worlds that are made a thousand times."""
    while not condition():
        await bridgeio.sleep(0.0002)
