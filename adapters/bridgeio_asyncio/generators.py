"""Asynchronous generators that a run of ours leaves behind.

asyncio closes them too, but at the end of its loop it cancels those that it is closing already, and closes
all others at once, also one that the cleanup of another closes.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from types import AsyncGeneratorType
from typing import Any

__all__ = ["Generators", "others_closed"]


class Generators:
    """The generators that are begun from here on, in a running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._begun: weakref.WeakKeyDictionary[Any, weakref.ref[asyncio.Task[Any]]] = weakref.WeakKeyDictionary()
        self._loops = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._begins)

    async def close(self) -> None:
        """Closes one after the other, but those of tasks that are still at work, which are not ours."""
        await others_closed()
        while left := [generator for generator, task in self._begun.items() if _is_over(task())]:
            for generator in left:
                del self._begun[generator]
                await self._close(generator)
        sys.set_asyncgen_hooks(*self._loops)

    def _begins(self, generator: Any) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._begun[generator] = weakref.ref(task)
        if self._loops.firstiter is not None:
            self._loops.firstiter(generator)

    async def _close(self, generator: AsyncGeneratorType[Any, Any]) -> None:
        try:
            await generator.aclose()
        except Exception as error:
            message = f"the cleanup of {generator!r} failed"
            self._loop.call_exception_handler({"message": message, "exception": error, "asyncgen": generator})


def _is_over(task: asyncio.Task[Any] | None) -> bool:
    return task is None or task is asyncio.current_task() or task.done()


async def others_closed() -> None:
    """Waits for all tasks, but this one, in which the loop closes a generator."""
    await asyncio.sleep(0)  # it starts them in its next turn
    me = asyncio.current_task()
    while others := [task for task in asyncio.all_tasks() if task is not me and _closes_a_generator(task)]:
        await asyncio.wait(others)


def _closes_a_generator(task: asyncio.Task[Any]) -> bool:
    return type(task.get_coro()).__name__ == "async_generator_athrow"  # what aclose() returns; it has no public name
