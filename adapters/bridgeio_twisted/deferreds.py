"""A coroutine as a Deferred, for code that is Twisted's own."""

from __future__ import annotations

from collections.abc import Coroutine
from inspect import iscoroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python import threadable
from twisted.python.failure import Failure

from bridgeio.contract import cancel
from bridgeio.unpatched import get_ident
from bridgeio_twisted.host import TwistedHost, host_of, leaves
from bridgeio_twisted.task import Cancelled, failure_of

__all__ = ["start"]

T = TypeVar("T")


def start(coro: Coroutine[Any, Any, T]) -> Deferred[T]:
    """See `bridgeio_twisted.as_deferred`."""
    if not iscoroutine(coro):
        raise TypeError(f"as_deferred() wants a coroutine, as calling an async function gives it, not {coro!r}")
    from twisted.internet import reactor

    if reactor.running and threadable.ioThread != get_ident():
        coro.close()
        raise RuntimeError(
            "as_deferred() is for the reactor's thread; from others, call it by "
            "twisted.internet.threads.blockingCallFromThread"
        )
    return _Promise(host_of(reactor), coro).deferred


class _CancelRequested(Exception):  # noqa: N818
    """No error, but a message on its way from a Deferred's canceller to its first errback."""


class _Promise:
    """A task and the Deferred that stands for it.

    A Deferred that is cancelled has to fire then and there, while our task may have to clean up. So
    the canceller fires it with an error of ours, its first errback, which nobody else can have added,
    cancels the task, and returns another Deferred, made the same way: the chain waits for that one.
    """

    def __init__(self, host: TwistedHost, coro: Coroutine[Any, Any, Any]) -> None:
        self._host = host
        self.deferred = self._new_deferred()
        self._task = host.start(coro, getattr(coro, "__qualname__", "as_deferred"), self._task_ended)

    def _new_deferred(self) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred(lambda cancelled: cancelled.errback(_CancelRequested()))
        return deferred.addErrback(self._cancel)

    def _cancel(self, failure: Failure) -> Failure | Deferred[Any]:
        if not isinstance(failure.value, _CancelRequested):
            return failure
        self.deferred = self._new_deferred()
        cancel(self._task.root)
        return self.deferred

    def _task_ended(self, result: Any, error: BaseException | None) -> None:
        if isinstance(error, Cancelled):
            self.deferred.errback(failure_of(CancelledError("the bridgeio task was cancelled")))
        elif error is not None:
            self.deferred.errback(failure_of(error))
            if leaves(error):
                self._host.leave(error)
        elif isinstance(result, Deferred):
            self.deferred.errback(failure_of(TypeError("the coroutine returned a Deferred: await it instead")))
        else:
            self.deferred.callback(result)
