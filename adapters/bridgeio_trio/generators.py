"""Asynchronous generators that a run of ours leaves behind.

Trio closes them too, but in a cancelled scope, and the last ones when its system tasks have ended, our
timers and sockets with them. So in a run of ours they are closed before that, where they may wait.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

import trio

__all__ = ["Generators"]

logger = logging.getLogger("bridgeio.trio")

Generator = AsyncGenerator[Any, Any]


class Generators:
    """The generators that are begun inside the block; at its end those that were not finished are closed, one
    after the other: the cleanup of one may have to close another.

    :param call_soon: calls back in the run's thread; any thread may ask, the collector too.
    :param leave: is told the KeyboardInterrupt or SystemExit that came out of cleanup.
    """

    def __init__(self, call_soon: Callable[..., object], leave: Callable[[BaseException], object]) -> None:
        self._call_soon = call_soon
        self._leave = leave
        self._begun: weakref.WeakSet[Generator] = weakref.WeakSet()
        self._dropped: deque[Generator] = deque()
        self._closing = 0
        self._all_closed = trio.Event()

    async def __aenter__(self) -> None:
        self._trios = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._begun.add, self._is_dropped)

    async def __aexit__(self, *exc: object) -> None:
        with trio.CancelScope(shield=True):
            while self._begun or self._dropped or self._closing:
                for generator in self._left():
                    await self._close(generator)
                if self._closing:
                    self._all_closed = trio.Event()
                    await self._all_closed.wait()
        sys.set_asyncgen_hooks(*self._trios)

    def _left(self) -> list[Generator]:
        left = [*self._begun, *self._dropped]
        self._begun.clear()
        self._dropped.clear()
        return left

    def _is_dropped(self, generator: Generator) -> None:
        self._dropped.append(generator)
        with suppress(trio.RunFinishedError):
            self._call_soon(self._close_dropped)

    def _close_dropped(self) -> None:
        while self._dropped:
            self._closing += 1
            generator = self._dropped.popleft()
            trio.lowlevel.spawn_system_task(self._close_beside, generator, name=f"bridgeio closes {generator!r}")

    async def _close_beside(self, generator: Generator) -> None:
        try:
            await self._close(generator)
        finally:
            self._closing -= 1
            if not self._closing:
                self._all_closed.set()

    async def _close(self, generator: Generator) -> None:
        try:
            await generator.aclose()
        except Exception:
            logger.exception("the cleanup of %r failed", generator)
        except (KeyboardInterrupt, SystemExit) as error:
            self._leave(error)
