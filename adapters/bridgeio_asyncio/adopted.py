"""Tasks that asyncio drives itself: an application's own, from the first time that they call bridgeio."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from math import inf
from types import coroutine
from typing import TYPE_CHECKING, Any

from bridgeio.contract import Scope
from bridgeio_asyncio.task import ScopeCancelled, WaitingTask, is_about_to_be_cancelled

if TYPE_CHECKING:
    from bridgeio_asyncio.host import AsyncioHost

__all__ = ["AdoptedTask"]

_BY_SCOPE = "cancelled by a bridgeio scope"  # known by its identity, not by its words


class AdoptedTask(WaitingTask):
    """A task that somebody else started, and that called bridgeio. asyncio drives it directly, so
    the only way to end its native waits is its own: `Task.cancel`, once, and `Task.uncancel` after.

    asyncio makes one error of two cancels that meet in one wait, ours and one of its own. The scope absorbs
    that error, as it does its own; then the other cancel is still due.

    :ivar _struck_among: how many natives there were when we struck, until the task has taken the step after.
    :ivar _met_at: how many there were with the one that met ours.
    """

    __slots__ = ("_gives_way", "_in_doubt", "_met_at", "_owed", "_struck_among")

    native: asyncio.Task[Any]

    def __init__(self, host: AsyncioHost, native: asyncio.Task[Any]) -> None:
        super().__init__(host, native.get_name(), Scope(), native)
        self.coro = native.get_coro()
        self._owed = 0
        self._struck_among = self._met_at = inf
        self._in_doubt = False
        self._gives_way = False

    def is_ours(self, error: BaseException) -> bool:
        """Nobody has seen what ended its native waits before: if there were cancellations of asyncio's when
        ours came, one may still be on its way, and without the words it is not taken for ours."""
        if isinstance(error, asyncio.CancelledError) and error.args and error.args[0] is _BY_SCOPE:
            return True
        return super().is_ours(error) and (isinstance(error, ScopeCancelled) or not self._is_in_doubt())

    def _is_in_doubt(self) -> bool:
        return self._in_doubt and self._natives(self.native) > 0

    def cancellation(self) -> BaseException:
        self._in_doubt = self._natives(self.native) > 0
        return super().cancellation()

    @coroutine
    def give_way(self) -> Generator[Any, Any, None]:
        """No native wait, though it looks like one from outside; what comes after it may be one."""
        self._gives_way = True
        others_turn: Any = super().give_way()
        try:
            yield from others_turn
        finally:
            self._gives_way = False
        if self.scope.cancelled and not self.scope.edge:
            self.interrupt()

    def interrupt(self) -> bool:
        self.host.loop.call_soon(self._end_native_wait)
        return False

    def _natives(self, native: asyncio.Task[Any]) -> int:
        return native.cancelling() - self._owed

    def forgive(self) -> None:
        self._note_what_met_ours()
        while self._owed:
            self._owed -= 1
            self._heard_at -= 1
            self.native.uncancel()
        met_at, self._met_at = self._met_at, inf
        if self._natives(self.native) >= met_at:
            self._keep(asyncio.CancelledError(), met_at)

    def _note_what_met_ours(self, waited: object = None) -> None:
        if self._natives(self.native) - self._is_to_be_cancelled() > self._struck_among:
            self._met_at = self._struck_among + 1
        self._struck_among = inf

    def _end_native_wait(self) -> None:
        """One turn later the task is at its next wait. If that is ours, it knows by itself."""
        scope = self.scope
        if self.abort is not None or self._gives_way or self.native.done():
            return
        waited = getattr(self.native, "_fut_waiter", None)
        if waited is self._wait:  # woken out of ours, and not gone on yet
            self.interrupt()
            return
        if waited is None and is_about_to_be_cancelled(self.native):  # two at once would become one, and ours
            self.interrupt()
            return
        if scope.cancelled and not scope.edge:
            scope.edge = True
            self._struck_among = self._natives(self.native)
            self._in_doubt = self._struck_among > 0
            self._owed += 1
            self.native.cancel(_BY_SCOPE)
            self._heard_at = self.native.cancelling()
            if waited is None:
                self.host.loop.call_soon(self._note_what_met_ours)
            else:
                waited.add_done_callback(self._note_what_met_ours)
