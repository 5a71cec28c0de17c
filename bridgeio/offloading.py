"""A function's call in a worker thread: the way there, the way back, and what the thread asks of its run meanwhile.

Rule 1: the task that offloads a call waits for the thread's end, unless the call may be abandoned. Then a cancel
ends the wait, the thread goes on alone, and whatever it has to say is dropped.
Rule 2: what the thread asks of the run is done by that task, one request at a time, while it waits: so scopes,
cancellations and the framework's own "current task" are the task's.
Rule 3: the outcome, a request, and the thread's being abandoned are settled in the host's thread alone.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Generic, TypeVar, cast

from bridgeio.contract import Host, Task
from bridgeio.crossing import Answer
from bridgeio.stacks import Between
from bridgeio.threadcache import Tell, cache
from bridgeio.unpatched import original

__all__ = ["AbandonedError", "Call", "Request", "call_of_this_thread"]

T = TypeVar("T")
R = TypeVar("R")

_here: Any = original("_thread", "_local")()


def call_of_this_thread() -> Call[Any] | None:
    """What the calling thread does for a task of a run, if it is a worker."""
    call: Call[Any] | None = getattr(_here, "call", None)
    return call


class AbandonedError(Exception):
    """The task that should serve a request has gone on."""


class Request(Generic[T]):
    """An async function that a worker thread wants to have run by the task that waits for it."""

    __slots__ = ("_context", "_make", "answer")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]], context: Context) -> None:
        self.answer: Answer[T] = Answer()
        self._make = make
        self._context = context

    async def serve(self) -> None:
        try:
            result = await _DrivenIn(self._context, self._make())
        except BaseException as error:
            self.answer.fail(error)
            if isinstance(error, GeneratorExit):
                raise
        else:
            self.answer.give(result)


class Call(Generic[T]):
    """One call, offloaded by the task that makes this object.

    :param abandonable: a cancel ends the wait for it.
    :param on_end: called once, when the thread has ended with it, or the run has: in the host's thread as long as
        there is a host.
    """

    def __init__(self, task: Task, function: Callable[[], T], abandonable: bool, on_end: Callable[[], object]) -> None:
        self.host: Host = task.host
        self._task = task
        self._function: Callable[[], T] | None = function
        self._abandonable = abandonable
        self._abandoned = False
        self._on_end = [on_end]
        self._context = copy_context()
        self._library = _library_in(self._context)
        self._requests: deque[Request[Any]] = deque()
        self._outcome: Answer[T] | None = None

    # By the task

    def start(self) -> None:
        """:raises OSError: if the system gives no thread."""
        cache.start(self._work)

    async def wait(self) -> T:
        """The result. To be awaited right after `start`."""
        try:
            await self._attend()
        except BaseException:
            self._abandon()
            raise
        assert self._outcome is not None
        outcome, self._outcome = self._outcome, None
        try:
            return outcome.wait()
        except self.host.cancelled_class as error:
            cancelled = error
        try:
            await self._task.checkpoint_if_cancelled()  # what the task has to hear of: the thread had one of its own
            raise cancelled
        finally:
            del cancelled

    async def _attend(self) -> None:
        while self._outcome is None:
            if not self._requests:
                await self._task.park(self._abort)
                continue
            await self._requests.popleft().serve()
            if self._abandonable:
                await self._task.checkpoint_if_cancelled()  # the cancel may have met the request

    def _abandon(self) -> None:
        self._abandoned = True
        self._refuse_requests()
        if self._on_end:
            self.host.call_at_end(self._release)

    def _abort(self) -> bool:
        self._abandoned = self._abandonable
        return self._abandonable

    def doing(self, abort: object) -> str:
        return "waiting for a call in a worker thread"

    # In the host's thread

    def _end(self, outcome: Answer[T]) -> None:
        self.host.spare_at_end(self._release)
        self._release()
        if self._abandoned:
            outcome.forget()
        else:
            self._outcome = outcome
            self._wake()

    def _take(self, request: Request[Any]) -> None:
        self._requests.append(request)
        if self._abandoned:
            self._refuse_requests()
        else:
            self._wake()

    def _refuse_requests(self) -> None:
        while self._requests:
            self._requests.popleft().answer.fail(AbandonedError())

    def _wake(self) -> None:
        if self._task.abort == self._abort:
            self._task.wake()

    # In the worker thread

    def is_cancelled(self) -> bool:
        """Whether the next wait of the task is cancelled, or it has gone on without this thread."""
        return self._abandoned or self._task.has_pending_cancellation()

    def ask(self, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Has the task run an async function, and waits for what comes of it.

        :raises AbandonedError: if the task has gone on; the function was not called then.
        :raises RuntimeError: if the run ends meanwhile.
        """
        request: Request[R] = Request(make, _in_library(copy_context(), self._library))
        return self.host.ask(request.answer, partial(self._take, request))

    def _work(self) -> Tell:
        outcome: Answer[T] = Answer()
        _here.call = self
        try:
            outcome.give(self._function_in_context()())
        except BaseException as error:
            outcome.fail(error)
        finally:
            del _here.call
            self.host.leave_thread()
        return partial(self._tell, outcome)

    def _function_in_context(self) -> Callable[[], T]:
        """To be called once: what the function was given is not to live on in here."""
        function, self._function = self._function, None
        assert function is not None
        return partial(_in_library(self._context, None).run, function)

    def _tell(self, outcome: Answer[T]) -> None:
        try:
            self.host.call_soon_threadsafe(partial(self._end, outcome))
        except RuntimeError:  # the run has ended, and nobody waits
            outcome.forget()
            with contextlib.suppress(RuntimeError):
                self._release()

    def _release(self) -> None:
        """Once: by the thread's end, or by the run's if that comes first, whose tokens nobody else could borrow."""
        with contextlib.suppress(IndexError):
            self._on_end.pop()()


class _DrivenIn(Between, Generic[T]):
    """Awaits a coroutine in a context that is not the task's."""

    def __init__(self, context: Context, coro: Coroutine[Any, Any, T]) -> None:
        self.awaited = coro
        self._run = context.run

    def __await__(self) -> Generator[Any, Any, T]:
        return cast("Generator[Any, Any, T]", self)

    def __iter__(self) -> _DrivenIn[T]:
        return self

    def __next__(self) -> Any:
        return self._run(self.awaited.send, None)

    def send(self, value: Any) -> Any:
        return self._run(self.awaited.send, value)

    def throw(self, *error: Any) -> Any:
        return self._run(self.awaited.throw, *error)

    def close(self) -> None:
        self._run(self.awaited.close)


def _library_in(context: Context) -> object:
    """What sniffio is told by a variable, where a framework tells it so; that is a lie in any other thread."""
    variable = _library_variable()
    return None if variable is None else context.get(variable)


def _in_library(context: Context, name: object) -> Context:
    variable = _library_variable()
    if variable is not None and context.get(variable) != name:
        context.run(variable.set, name)
    return context


def _library_variable() -> ContextVar[Any] | None:
    found: ContextVar[Any] | None = getattr(sys.modules.get("sniffio"), "current_async_library_cvar", None)
    return found
