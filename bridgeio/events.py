"""Waiting for something that another task does."""

from __future__ import annotations

from dataclasses import dataclass

from bridgeio.checkpoints import begin, spend
from bridgeio.waiters import Line

__all__ = ["Event", "EventStatistics"]


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """:ivar tasks_waiting: how many tasks are in `Event.wait`."""

    tasks_waiting: int


class Event:
    """A flag that tasks can wait for. May be made outside any run.

    ``set()`` may be called by any task of the run, and by callbacks in its thread; once set, an
    event stays set. From another thread that is a RuntimeError while tasks wait, and nothing happens.
    """

    def __init__(self) -> None:
        self._set = False
        self._line: Line[None] = Line("an Event")

    def set(self) -> None:
        """Sets the flag and wakes every waiting task.

        :raises SharedBetweenRunsError: if those are of another run than the caller.
        """
        self._line.check_caller()
        self._set = True
        self._line.grant_all()

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._set

    async def wait(self) -> None:
        """Waits until the flag is set. Any number of tasks may wait; a cancel leaves the line.

        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = await begin()
        if self._set:
            await spend(task)
        else:
            await self._line.join(task, None)

    def statistics(self) -> EventStatistics:
        """What it is doing now."""
        return EventStatistics(len(self._line))
