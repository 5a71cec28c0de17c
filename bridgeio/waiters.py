"""Standing in line: what every lock, queue and event of bridgeio waits with.

Rule 1: first come, first served. Who grants takes the waiter out of the line *before* he wakes the
task; what was granted is the waiter's from then on.
Rule 2: a cancel takes a waiter out of the line; if he is no longer in it, the cancel has come too late,
the wait ends with what was granted, and the next wait is cancelled. Nothing granted is ever lost.
Rule 3: every async function looks whether its task is cancelled before it takes anything (`begin`), and
gives way to others at most after it (`spend`), shielded.
Rule 4: a line is in one run at a time. It may be made anywhere, and used in a run after another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable
from typing import Any, Generic, TypeVar

from bridgeio.contract import Task
from bridgeio.errors import SharedBetweenRunsError
from bridgeio.registry import current_task

__all__ = ["Line", "Waiter", "begin", "spend"]

T = TypeVar("T")


class Waiter(Generic[T]):
    """One task in a `Line`. Calling it is the ``abort`` of its wait; see `bridgeio.contract.Task.park`.

    :ivar task: who waits.
    :ivar item: what it brought, or is to be given; the line does not look at it.
    """

    __slots__ = ("item", "line", "task")

    def __init__(self, line: Line[T], task: Task, item: T) -> None:
        self.line = line
        self.task = task
        self.item = item

    def __call__(self) -> bool:
        return self.line.remove(self)


class Line(Generic[T]):
    """Waiters, in the order in which they came.

    :ivar what: what they wait for, in words, for those who look at a task that hangs.
    """

    __slots__ = ("_waiters", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self._waiters: OrderedDict[Waiter[T], None] = OrderedDict()  # leaves the middle as fast as the front

    def __len__(self) -> int:
        return len(self._waiters)

    def join(self, task: Task, item: T) -> Awaitable[Any]:
        """An awaitable that ends when the waiter is granted. To be awaited at once, by that task.

        :raises SharedBetweenRunsError: if tasks of another run stand here.
        """
        self.check_run(task)
        waiter = Waiter(self, task, item)
        self._waiters[waiter] = None
        awaitable: Awaitable[Any] = task.park(waiter)
        return awaitable

    def first(self) -> Waiter[T] | None:
        """Who is next; stays in the line."""
        return next(iter(self._waiters), None)

    def grant(self) -> Waiter[T] | None:
        """Takes the first out of the line and wakes him; ``None`` if nobody waits."""
        if not self._waiters:
            return None
        waiter, _ = self._waiters.popitem(last=False)
        waiter.task.wake()
        return waiter

    def grant_all(self) -> int:
        """Everybody who stands here now; how many those were."""
        waiters, self._waiters = self._waiters, OrderedDict()
        for waiter in waiters:
            waiter.task.wake()
        return len(waiters)

    def remove(self, waiter: Waiter[T]) -> bool:
        """Takes him out without a grant; whether he was there."""
        if waiter not in self._waiters:
            return False
        del self._waiters[waiter]
        return True

    def check_run(self, task: Task) -> None:
        """:raises SharedBetweenRunsError: if tasks of another run stand here."""
        first = self.first()
        if first is not None and first.task.host is not task.host:
            raise SharedBetweenRunsError(f"tasks of another run wait for {self.what}; one run at a time can use it")


async def begin() -> Task:
    """The calling task, which is not cancelled. The first thing that an async function does (rule 3)."""
    task = current_task()
    if task.scope.cancelled:
        await task.checkpoint_if_cancelled()
    return task


async def spend(task: Task) -> None:
    """One operation of the task's budget; the last thing that an async function does, if it did not wait."""
    task.budget -= 1
    if task.budget <= 0:
        await task.give_way()
