"""Waiting for something that another task does."""

from __future__ import annotations

from bridgeio.contract import get_current
from bridgeio.records import Record
from bridgeio.registry import current_task
from bridgeio.unpatched import get_ident
from bridgeio.waiters import Line, Waiter

__all__ = ["Event", "EventStatistics"]


class EventStatistics(Record):
    """:ivar tasks_waiting: how many tasks are in `Event.wait`."""

    tasks_waiting: int


class Event:
    """A flag that tasks can wait for. May be made outside any run.

    ``set()`` may be called by any task of the run, and by callbacks in its thread; once set, an
    event stays set. From another thread that is a RuntimeError while tasks wait, and nothing happens.
    """

    __slots__ = ("__weakref__", "_line", "_set")

    def __init__(self) -> None:
        self._set = False
        self._line: Line[None] | None = None  # made for who waits: events are made by the thousand, and few have any

    def set(self) -> None:
        """Sets the flag and wakes every waiting task.

        :raises SharedBetweenRunsError: if those are of another run than the caller.
        """
        line = self._line
        if line is not None:
            line.check_caller()
        self._set = True
        if line is not None:
            self._line = None  # nobody will wait any more
            line.grant_all()

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._set

    async def wait(self) -> None:
        """Waits until the flag is set. Any number of tasks may wait; a cancel leaves the line.

        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if not self._set:
            if self._line is None:
                self._line = Line("an Event")
            else:
                self._line.check_run(task)
            await task.park(Waiter(self._line, task, None))
            return
        task.budget -= 1
        if task.budget <= 0:
            await task.give_way()

    def statistics(self) -> EventStatistics:
        """What it is doing now."""
        return EventStatistics(0 if self._line is None else len(self._line))
