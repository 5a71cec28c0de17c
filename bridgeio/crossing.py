"""What a host does for worker threads, for the calls that come from other threads, and for signals, which come
in one thread alone; each has a default."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from bridgeio.cancellation import Scope
from bridgeio.threadcache import cache

__all__ = ["Crossing", "end_idle_threads"]


class Crossing:
    """A part of `bridgeio.contract.Host`."""

    def leave_thread(self: Any) -> None:
        """The worker thread that asks has made a call for this host, and is to serve others: clears away what the
        framework has made for that thread. Must not raise."""

    def cancellation_in_thread(self: Any) -> BaseException:
        """An exception of ``cancelled_class``, to be raised in the worker thread that asks for it."""
        error: BaseException = self.cancelled_class("the task that waits for this thread was cancelled")
        return error

    def spawn_visitor(self: Any, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> object:
        """`bridgeio.contract.Host.spawn` for a task that is nobody's child, asked by a callback of the host's."""
        return self.spawn(coro, name, scope)

    def signal_bell(self: Any) -> AbstractContextManager[int | None]:
        """A block in which a wait of the calling task, in the main thread, ends when Python writes to the descriptor
        given: only that thread runs signal handlers. ``None``, the default, where the host's thread is the one
        that waits in all its watches."""
        return nullcontext()


end_idle_threads = cache.end_idle
