"""Standing in line: what every lock, queue and event of bridgeio waits with.

Rule 1: first come, first served. Who grants takes the waiter out of the line *before* he wakes the
task; what was granted is the waiter's from then on.
Rule 2: a cancel takes a waiter out of the line; if he is no longer in it, the cancel has come too late,
the wait ends with what was granted, and the next wait is cancelled. Nothing granted is ever lost.
Rule 3: a line is in one run at a time. It may be made anywhere, and used in a run after another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from bridgeio.contract import Task, get_current
from bridgeio.errors import NoBackendError, SharedBetweenRunsError
from bridgeio.registry import check_thread, current_task
from bridgeio.unpatched import get_ident

__all__ = ["Line", "Waiter"]

T = TypeVar("T")


class Waiter(Generic[T]):
    """One task in a `Line`, who stands there from the moment he is made: who makes one has asked `Line.check_run`,
    or has just made the line. Calling it is the ``abort`` of its wait; see `bridgeio.contract.Task.park`.

    :ivar task: who waits.
    :ivar item: what it brought, or is to be given; the line does not look at it.
    :ivar granted: it is his. Who finds this when his wait raises is being closed by his driver, and has to
        hand on what he will never use.
    :ivar stays: no cancel takes him out of the line: it comes at the next wait.
    :ivar before: his neighbour in the line, as ``after`` is; both are the line's.
    """

    __slots__ = ("after", "before", "granted", "item", "line", "stays", "task")

    after: Waiter[T] | None
    before: Waiter[T] | None

    def __init__(self, line: Line[T], task: Task, item: T, stays: bool = False) -> None:
        self.line = line
        self.task = task
        self.item = item
        self.granted = False
        self.stays = stays
        line.append(self)

    def __call__(self) -> bool:
        return not self.stays and self.line.remove(self)

    def wait(self) -> Awaitable[Any]:
        """An awaitable that ends when the waiter is granted. To be awaited at once, by his task."""
        awaitable: Awaitable[Any] = self.task.park(self)
        return awaitable


class Line(Generic[T]):
    """Waiters, in the order in which they came. They hold each other: one leaves the middle as fast as the
    front, and a line in which nobody stands, as most never see anybody, is one small object.

    :ivar holder: who has what they wait for, if that is one task.
    :ivar first: who is next, if anybody waits. To be read only.
    """

    __slots__ = ("_count", "_last", "_what", "first", "holder")

    def __init__(self, what: str) -> None:
        self._what = what
        self.holder: Task | None = None
        self.first: Waiter[T] | None = None
        self._last: Waiter[T] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

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
        if self.first is not None or self.holder is not None:
            self.check_run(task)
        return Waiter(self, task, item, stays)

    def join(self, task: Task, item: T) -> Awaitable[Any]:
        """`add` and `Waiter.wait` at once, for a wait that leaves nothing to hand on."""
        awaitable: Awaitable[Any] = task.park(self.add(task, item))
        return awaitable

    def grant(self) -> Waiter[T] | None:
        """Takes the first out of the line and wakes him; ``None`` if nobody waits."""
        waiter = self.first
        if waiter is not None:
            self.remove(waiter)
            waiter.granted = True
            waiter.task.wake()
        return waiter

    def grant_all(self) -> int:
        """Everybody who stands here now; how many those were."""
        count, self._count = self._count, 0
        waiter, self.first = self.first, None
        self._last = None
        while waiter is not None:
            following = waiter.after
            waiter.before = waiter.after = None
            waiter.granted = True
            waiter.task.wake()
            waiter = following
        return count

    def grant_those(self, chosen: Callable[[T], bool]) -> int:
        """Those whose ``item`` is chosen, wherever they stand; how many those were."""
        count, waiter = 0, self.first
        while waiter is not None:
            following = waiter.after
            if chosen(waiter.item):
                self.remove(waiter)
                waiter.granted = True
                waiter.task.wake()
                count += 1
            waiter = following
        return count

    def send_first(self, to: Line[T]) -> bool:
        """The first goes to another line, where he is the last, and stays; whether there was one."""
        waiter = self.first
        if waiter is None:
            return False
        self.remove(waiter)
        waiter.line = to
        waiter.stays = True
        to.append(waiter)
        return True

    def append(self, waiter: Waiter[T]) -> None:
        """Where he stands who comes."""
        waiter.before = last = self._last
        waiter.after = None
        if last is None:
            self.first = waiter
        else:
            last.after = waiter
        self._last = waiter
        self._count += 1

    def remove(self, waiter: Waiter[T]) -> bool:
        """Takes him out without a grant; whether he was there."""
        before, after = waiter.before, waiter.after
        if before is not None:
            before.after = after
        elif self.first is waiter:
            self.first = after
        else:
            return False
        if after is not None:
            after.before = before
        else:
            self._last = before
        waiter.before = waiter.after = None
        self._count -= 1
        return True

    def check_run(self, task: Task) -> None:
        """:raises SharedBetweenRunsError: if tasks of another run stand here, or one of them holds it."""
        other = self.holder
        if other is None and self.first is not None:
            other = self.first.task
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
        first = self.first
        if first is None:
            return
        task = get_current()
        if task is not None and task.host is first.task.host and task.thread == get_ident():
            return
        try:
            task = current_task()
        except NoBackendError:
            check_thread(first.task.host, f"what ends a wait for {self.what}")
        else:
            self.check_run(task)
