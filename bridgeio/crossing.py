"""Between a run and other threads: what a thread waits for, and what a host does for such threads, and for
signals, which come in one thread alone.

Rule 1: a thread that waits for an answer always gets one. A host that ends answers whatever is left, for a callback
that came too late for the last turn of its loop is never called. Of a loop that is closed and does not say so the
thread finds that out itself.
Rule 2: of two answers the first counts.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

from bridgeio.cancellation import Scope
from bridgeio.threadcache import cache
from bridgeio.unpatched import original

__all__ = ["Answer", "Crossing"]

PATIENCE = 0.5  # seconds after which a thread looks whether there is somebody left to wait for

T = TypeVar("T")


class Answer(Generic[T]):
    """What one thread waits for and another gives: a result or an exception.

    :ivar settled: it was given. To be asked in the thread that gives it.
    """

    __slots__ = ("_error", "_given", "_result", "settled")

    _result: T

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self.settled = False
        self._given = original("_thread", "allocate_lock")()
        self._given.acquire()

    def give(self, result: T) -> None:
        if not self.settled:
            self._result = result
            self._settle()

    def fail(self, error: BaseException) -> None:
        if not self.settled:
            self._error = error
            self._settle()

    def comes_within(self, seconds: float) -> bool:
        """Waits that long at most, as `wait` does; whether there is an answer."""
        there_is: bool = self._given.acquire(True, seconds)
        if there_is:
            self._given.release()
        return there_is

    def wait(self) -> T:
        """Blocks the thread, on gevent too, where it blocks all its greenlets. A signal handler's exception ends
        the wait. To be called once."""
        self._given.acquire()
        try:
            if self._error is not None:
                raise self._error
            return self._result
        finally:
            self.forget()

    def forget(self) -> None:
        """Its exception's traceback would hold the frames that hold this."""
        self._error = None

    def _settle(self) -> None:
        self.settled = True
        self._given.release()


class Crossing:
    """A part of `bridgeio.contract.Host`. The upper half is the core's; the rest has a default and may be replaced."""

    is_over = False

    def ask(self: Any, answer: Answer[T], callback: Callable[[], object]) -> T:
        """Calls back in the host's thread, and waits in the calling thread, which is another, for the answer.

        :raises RuntimeError: if the host has ended, or ends before it has answered.
        """
        asked = self._asked()
        asked.add(answer)  # before the look: who ends the host sets the one, and then goes through the other
        try:
            if self.is_over:
                raise _ended()
            try:
                self.call_soon_threadsafe(callback)
            except RuntimeError as error:
                raise _ended() from error
            while not answer.comes_within(PATIENCE):
                if self.has_gone():
                    raise _ended()
            return answer.wait()
        finally:
            asked.discard(answer)

    def call_at_end(self, callback: Callable[[], object]) -> None:
        """Makes a call when the host has ended, in its thread. It must not raise."""
        if self.is_over:
            callback()
        else:
            self.__dict__.setdefault("_at_end", {})[callback] = None

    def spare_at_end(self, callback: Callable[[], object]) -> None:
        """It is not to be made any more. May be called again."""
        self.__dict__.get("_at_end", {}).pop(callback, None)

    def end_crossing(self) -> None:
        """Nobody is answered any more, and idle threads end."""
        self.is_over = True
        for answer in list(self._asked()):
            answer.fail(_ended())
        for callback in self.__dict__.pop("_at_end", ()):
            callback()
        cache.end_idle()

    def _asked(self) -> set[Answer[Any]]:
        asked: set[Answer[Any]] = self.__dict__.setdefault("_answers", set())
        return asked

    def has_gone(self) -> bool:
        """Whether this can call nothing any more, though nobody has closed it: somebody else's loop can be closed at
        any moment, with calls that it has taken and not made. Asked by a thread that waits for one of them."""
        return False

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


def _ended() -> RuntimeError:
    return RuntimeError("the run that this thread called has ended")
