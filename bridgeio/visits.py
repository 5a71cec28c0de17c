"""Async functions that a foreign thread has a run call: tasks that are nobody's child, and end with the run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from bridgeio.cancellation import Scope, cancel
from bridgeio.contract import Host, Task, never
from bridgeio.crossing import Answer
from bridgeio.runvars import RunVar, kept_by

__all__ = ["Visit", "end_visits"]

T = TypeVar("T")


class Visit(Generic[T]):
    """One call. The task runs in a copy of the calling thread's context."""

    def __init__(self, host: Host, make: Callable[[], Coroutine[Any, Any, T]], name: str) -> None:
        self.scope = Scope()
        self._host = host
        self._make = make
        self._name = name
        self._context = copy_context()
        self._answer: Answer[T] = Answer()

    def result(self) -> T:
        """Waits for the call's end, in the thread that makes it.

        :raises RuntimeError: if the run has ended.
        """
        try:
            return self._host.ask(self._answer, self._begin)
        except BaseException:
            if not self._answer.settled:  # a signal handler's: nobody waits for the task any more
                with contextlib.suppress(RuntimeError):
                    self._host.call_soon_threadsafe(partial(cancel, self.scope))
            raise

    def _begin(self) -> None:
        if self._answer.settled:
            return
        coro = self._carry()
        visitors = _visitors(self._host)
        visitors.visits.add(self)
        try:
            self._context.run(self._host.spawn_visitor, coro, self._name, self.scope)
        except BaseException as error:
            visitors.visits.discard(self)
            coro.close()
            self._answer.fail(error)

    async def _carry(self) -> None:
        try:
            result = await self._make()
        except BaseException as error:
            self._answer.fail(error)
            if isinstance(error, GeneratorExit):
                raise
        else:
            self._answer.give(result)
        finally:
            self.scope.task = None  # ends the cycle
            _visitors(self._host).leave(self)


class _Visitors:
    """Those of one run.

    :ivar joiner: who waits until they have left.
    """

    def __init__(self) -> None:
        self.visits: set[Visit[Any]] = set()
        self.joiner: Task | None = None

    def leave(self, visit: Visit[Any]) -> None:
        self.visits.discard(visit)
        if self.joiner is not None and not self.visits:
            self.joiner.wake()


async def end_visits(task: Task) -> None:
    """At the end of a run, in its main task: cancels the visits, and waits for them. Where several runs share a
    host, the last one does."""
    visitors = _visitors(task.host)
    if task.host.mains != {task}:
        return
    visitors.joiner = task
    while visitors.visits:
        for visit in list(visitors.visits):
            if not visit.scope.called:
                cancel(visit.scope)
        if visitors.visits:
            await task.park(never)
    visitors.joiner = None


def _visitors(host: Host) -> _Visitors:
    return kept_by(host, _VISITORS, _Visitors)


_VISITORS: RunVar[_Visitors] = RunVar("bridgeio.visitors")
