"""Standing in line: what every lock, queue and event of bridgeio waits with.

Rule 1: first come, first served. Who grants takes the waiter out of the line *before* he wakes the
task; what was granted is the waiter's from then on.
Rule 2: a cancel takes a waiter out of the line; if he is no longer in it, the cancel has come too late,
the wait ends with what was granted, and the next wait is cancelled. Nothing granted is ever lost.
Rule 3: a line is in one run at a time. It may be made anywhere, and used in a run after another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from bridgeio.contract import Task
from bridgeio.errors import NoBackendError, SharedBetweenRunsError
from bridgeio.registry import check_thread, current_task

__all__ = ["Line", "Waiter"]

T = TypeVar("T")


class Waiter(Generic[T]):
    """One task in a `Line`. Calling it is the ``abort`` of its wait; see `bridgeio.contract.Task.park`.

    :ivar task: who waits.
    :ivar item: what it brought, or is to be given; the line does not look at it.
    :ivar granted: it is his. Who finds this when his wait raises is being closed by his driver, and has to
        hand on what he will never use.
    :ivar stays: no cancel takes him out of the line: it comes at the next wait.
    """

    __slots__ = ("granted", "item", "line", "stays", "task")

    def __init__(self, line: Line[T], task: Task, item: T, stays: bool) -> None:
        self.line = line
        self.task = task
        self.item = item
        self.granted = False
        self.stays = stays

    def __call__(self) -> bool:
        return not self.stays and self.line.remove(self)

    def wait(self) -> Awaitable[Any]:
        """An awaitable that ends when the waiter is granted. To be awaited at once, by his task."""
        awaitable: Awaitable[Any] = self.task.park(self)
        return awaitable


class Line(Generic[T]):
    """Waiters, in the order in which they came.

    :ivar holder: who has what they wait for, if that is one task.
    """

    __slots__ = ("_waiters", "_what", "holder")

    def __init__(self, what: str) -> None:
        self._what = what
        self.holder: Task | None = None
        self._waiters: OrderedDict[Waiter[T], None] = OrderedDict()  # leaves the middle as fast as the front

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def what(self) -> str:
        """What they wait for, in words, for those who look at a task that hangs."""
        return self._what if self.holder is None else f"{self._what} held by {self.holder.name}"

    def name(self, what: str) -> None:
        """For a line that was there before what it is for."""
        self._what = what

    def add(self, task: Task, item: T, *, stays: bool = False) -> Waiter[T]:
        """A new waiter, who is the last. He is to `Waiter.wait` at once.

        :raises SharedBetweenRunsError: if tasks of another run stand here.
        """
        self.check_run(task)
        waiter = Waiter(self, task, item, stays)
        self._waiters[waiter] = None
        return waiter

    def join(self, task: Task, item: T) -> Awaitable[Any]:
        """`add` and `Waiter.wait` at once, for a wait that leaves nothing to hand on."""
        return self.add(task, item).wait()

    def first(self) -> Waiter[T] | None:
        """Who is next; stays in the line."""
        return next(iter(self._waiters), None)

    def grant(self) -> Waiter[T] | None:
        """Takes the first out of the line and wakes him; ``None`` if nobody waits."""
        if not self._waiters:
            return None
        waiter, _ = self._waiters.popitem(last=False)
        waiter.granted = True
        waiter.task.wake()
        return waiter

    def grant_all(self) -> int:
        """Everybody who stands here now; how many those were."""
        waiters, self._waiters = self._waiters, OrderedDict()
        for waiter in waiters:
            waiter.granted = True
            waiter.task.wake()
        return len(waiters)

    def grant_those(self, chosen: Callable[[T], bool]) -> int:
        """Those whose ``item`` is chosen, wherever they stand; how many those were."""
        waiters = [waiter for waiter in self._waiters if chosen(waiter.item)]
        for waiter in waiters:
            del self._waiters[waiter]
            waiter.granted = True
            waiter.task.wake()
        return len(waiters)

    def send_first(self, to: Line[T]) -> bool:
        """The first goes to another line, where he is the last, and stays; whether there was one."""
        if not self._waiters:
            return False
        waiter, _ = self._waiters.popitem(last=False)
        waiter.line = to
        waiter.stays = True
        to._waiters[waiter] = None
        return True

    def remove(self, waiter: Waiter[T]) -> bool:
        """Takes him out without a grant; whether he was there."""
        if waiter not in self._waiters:
            return False
        del self._waiters[waiter]
        return True

    def check_run(self, task: Task) -> None:
        """:raises SharedBetweenRunsError: if tasks of another run stand here, or one of them holds it."""
        other = self.holder
        if other is None and self._waiters:
            other = next(iter(self._waiters)).task
        if other is not None and other.host is not task.host:
            raise self._shared(other)

    def _shared(self, other: Task) -> SharedBetweenRunsError:
        """Whether that run is going on cannot be seen from here, so the words fit both."""
        does = "holds" if other is self.holder else "waits for"
        return SharedBetweenRunsError(
            f"{other.name}, a task of another run, {does} {self._what}: one run at a time can use it. Make one for "
            "each run; or, if that run is over, see that none ends without giving it back"
        )

    def check_caller(self) -> None:
        """The same for calls that cannot wait, and may be made outside any task: such a callback is believed
        to belong to the run, if it is made in its thread.

        :raises SharedBetweenRunsError: if the calling task is of another run than those who stand here.
        :raises RuntimeError: if the caller is no task, and in another thread.
        """
        first = self.first()
        if first is None:
            return
        try:
            task = current_task()
        except NoBackendError:
            check_thread(first.task.host, f"what ends a wait for {self.what}")
        else:
            self.check_run(task)
