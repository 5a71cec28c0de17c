"""What a parked task awaits: a Future in those few ways that `asyncio.Task` looks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context

__all__ = ["Wait"]


class Wait:
    """One serves a task all its life, because only that task ever waits for it, and again and again.

    Next to an `asyncio.Future` for each park it costs less, and it can end *now*, where a Future always
    takes another turn of the loop.

    :ivar callback: lets the task go on; ``None`` unless asyncio waits for that and nothing is on its way.
    :ivar context: in which the callback is to be called.
    :ivar refused: asyncio wanted to cancel what was no wait just then; it remembers that by itself.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_loop", "callback", "context", "refused")

    _asyncio_future_blocking: bool  # set by who yields this, and cleared by asyncio: so it knows an await

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._cancelled: asyncio.CancelledError | None = None
        self.callback: Callable[[Wait], object] | None = None
        self.context: Context | None = None
        self.refused = False

    # What asyncio calls

    def add_done_callback(self, callback: Callable[[Wait], object], *, context: Context) -> None:
        self.callback = callback
        self.context = context

    def cancel(self, msg: object = None) -> bool:
        self.refused = self.callback is None
        if self.refused:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.end_soon()
        return True

    def cancelled(self) -> bool:
        return self._cancelled is not None

    def result(self) -> None:
        if self._cancelled is not None:
            error, self._cancelled = self._cancelled, None
            raise error

    # What its task calls

    def end_soon(self) -> None:
        """Lets the task go on in the loop's next turn, unless that is on its way."""
        callback, self.callback = self.callback, None
        if callback is not None:
            context, self.context = self.context, None  # which knows the task, as its task knows this
            self._loop.call_soon(callback, self, context=context)

    def end_now(self) -> None:
        """Lets the task go on before this returns, unless that is on its way. Only outside of all tasks."""
        callback, self.callback = self.callback, None
        if callback is not None and self.context is not None:
            context, self.context = self.context, None
            context.run(callback, self)
