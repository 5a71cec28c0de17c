"""A task whose coroutine a test drives by hand, one wait after another."""

from __future__ import annotations

import contextvars
from _thread import get_ident
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from bridgeio.contract import BUDGET, CURRENT
from fake_host import FakeHost, FakeTask

__all__ = ["DrivenTask"]


class DrivenTask(FakeTask):
    """Runs a coroutine up to its next wait: ``"parked"`` or ``"gave way"``.

    :ivar result: what the coroutine returned, once it has.
    """

    __slots__ = ("_context", "_coro", "result")

    def __init__(self, host: FakeHost) -> None:
        super().__init__(host)
        self._context = contextvars.copy_context()
        self._context.run(CURRENT.set, self)
        self._coro: Coroutine[Any, Any, object] | None = None
        self.result: object = None

    @property
    def thread(self) -> int:
        return get_ident()

    def begin(self, coro: Coroutine[Any, Any, object]) -> str:
        self._coro = coro
        return self.go_on()

    def go_on(self) -> str:
        """:returns: what it waits in now; nothing if it is over."""
        assert self._coro is not None
        try:
            waits: str = self._context.run(self._coro.send, None)
        except StopIteration as stop:
            self.result = stop.value
            return ""
        return waits

    def close(self) -> None:
        """Breaks off the wait, as a driver does that lets go of its coroutine."""
        assert self._coro is not None
        self._context.run(self._coro.close)

    @coroutine
    def park(self, abort: Callable[[], bool]) -> Generator[str, None, None]:
        self.abort = abort
        try:
            yield "parked"
        except GeneratorExit:
            self.abort = None
            abort()
            raise

    @coroutine
    def give_way(self) -> Generator[str, None, None]:
        self.budget = BUDGET
        yield "gave way"
