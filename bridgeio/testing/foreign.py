"""Threads that a run has not started, as tests need them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from bridgeio.crossing import Answer
from bridgeio.testing.resources import until
from bridgeio.unpatched import forget_thread, original

__all__ = ["Door", "ForeignThread", "cancelled_error"]

T = TypeVar("T")


class ForeignThread(Generic[T]):
    """A real thread that calls a function, from when this is made.

    :ivar ended: whether it has.
    """

    def __init__(self, function: Callable[..., T], *args: object) -> None:
        self.ended = False
        self._answer: Answer[T] = Answer()
        original("_thread", "start_new_thread")(self._call, (function, args))

    async def joined(self) -> T:
        """Its function's result, or what it raised; waits in a task."""
        await until(lambda: self.ended)
        return self._answer.wait()

    def join(self) -> T:
        """The same, in synchronous code."""
        return self._answer.wait()

    def _call(self, function: Callable[..., Any], args: tuple[object, ...]) -> None:
        try:
            self._answer.give(function(*args))
        except BaseException as error:
            self._answer.fail(error)
        finally:
            self.ended = True
            forget_thread()


class Door:
    """A real thread waits at it until it is opened; any thread may open it, once for each who waits.

    :ivar came: how many have come to it.
    :ivar passed: how many have gone through.
    """

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()
        self._lock.acquire()
        self.came = 0
        self.passed = 0

    def wait(self) -> str:
        self.came += 1
        self._lock.acquire()
        self.passed += 1
        return "passed"

    def open(self) -> None:
        self._lock.release()


def cancelled_error() -> type[BaseException]:
    """What a cancelled future of a portal raises."""
    from concurrent.futures import CancelledError  # as late as the portal's own

    return CancelledError
