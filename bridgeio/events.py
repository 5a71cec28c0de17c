"""Waiting for something that another task does."""

from __future__ import annotations

from collections import deque

from bridgeio.contract import Task
from bridgeio.errors import SharedBetweenRunsError
from bridgeio.registry import current_task

__all__ = ["Event"]


class Event:
    """A flag that tasks can wait for. May be made outside any run.

    ``set()`` may be called by any task of the run, and by callbacks in its thread; once set, an
    event stays set. From another thread it is not safe.
    """

    def __init__(self) -> None:
        self._set = False
        self._waiters: deque[Task] = deque()

    def set(self) -> None:
        """Sets the flag and wakes every waiting task."""
        self._set = True
        waiters, self._waiters = self._waiters, deque()
        for task in waiters:
            task.wake()

    def is_set(self) -> bool:
        """Whether `set` was called."""
        return self._set

    async def wait(self) -> None:
        """Waits until the flag is set. Any number of tasks may wait; a cancel leaves the queue.

        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = current_task()
        if task.scope.cancelled:
            await task.checkpoint_if_cancelled()
        if self._set:
            task.budget -= 1
            if task.budget <= 0:
                await task.give_way()
            return
        if self._waiters and self._waiters[0].host is not task.host:
            raise SharedBetweenRunsError("tasks of another run are waiting for this Event")
        self._waiters.append(task)

        def abort() -> bool:
            try:
                self._waiters.remove(task)
            except ValueError:
                return False
            return True

        await task.park(abort)
