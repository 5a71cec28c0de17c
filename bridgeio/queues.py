"""A queue between tasks, with asyncio's names and meaning, as of Python 3.13, on every Python."""

from __future__ import annotations

from math import inf
from typing import Generic, TypeVar

from bridgeio.checkpoints import begin, spend
from bridgeio.errors import QueueEmpty, QueueFull, QueueShutDown
from bridgeio.handover import Deal, Handover
from bridgeio.limits import check_count
from bridgeio.records import Record
from bridgeio.registry import current_task
from bridgeio.waiters import Line

__all__ = ["Queue", "QueueStatistics"]

T = TypeVar("T")


class QueueStatistics(Record):
    """:ivar current_size: how many items are in the queue.
    :ivar maxsize: how many there may be; zero or less for no bound.
    :ivar unfinished_tasks: items put for which `Queue.task_done` was not called.
    :ivar tasks_waiting_put: how many tasks wait in `Queue.put`.
    :ivar tasks_waiting_get: how many tasks wait in `Queue.get`.
    :ivar tasks_waiting_join: how many tasks wait in `Queue.join`.
    """

    current_size: int
    maxsize: int
    unfinished_tasks: int
    tasks_waiting_put: int
    tasks_waiting_get: int
    tasks_waiting_join: int


class Queue(Generic[T]):
    """Items from tasks that put to tasks that get, first in, first out. May be made outside any run.

    Any number of tasks may wait at either end, and are served in the order in which they came. What
    need not wait may be called by any task of the run, and by callbacks in its thread; from another
    thread it is not safe. While tasks of one run wait, a task of another run that would have to wait
    with them, or wake them, gets `SharedBetweenRunsError`. What nobody has got stays for a later run.

    ``async for item in queue`` gets items until the queue is shut down and empty. It calls
    `task_done` for none of them.

    :param maxsize: how many items it holds before `put` waits; zero or less for no bound.
    :raises TypeError: if it is no integer.
    """

    def __init__(self, maxsize: int = 0) -> None:
        check_count("maxsize", maxsize)
        self._maxsize = maxsize
        self._handover: Handover[T] = Handover(maxsize if maxsize > 0 else inf, "a Queue")
        self._joiners: Line[None] = Line("the end of a Queue's tasks")
        self._finished = 0
        self._is_shut_down = False

    @property
    def maxsize(self) -> int:
        """How many items it holds before `put` waits; zero or less for no bound."""
        return self._maxsize

    def qsize(self) -> int:
        """How many items are in the queue. Those of tasks that wait in `put` are not."""
        return len(self._handover.buffer)

    def empty(self) -> bool:
        """Whether there is nothing to get without waiting."""
        return not self._handover.buffer

    def full(self) -> bool:
        """Whether there is no room to put without waiting."""
        return len(self._handover.buffer) >= self._handover.room

    async def put(self, item: T) -> None:
        """Puts an item into the queue, and waits while that is full. Cancelled, it has put nothing.

        :raises QueueShutDown: if the queue is shut down, before or meanwhile; nothing was put.
        """
        task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if self._is_shut_down:
            raise _shut_down()
        if self._handover.give(item):
            task.budget -= 1
            if task.budget <= 0:
                await task.give_way()
            return
        deal: Deal[T] = Deal(self, item)
        await self._handover.givers.join(task, deal)
        if not deal.done:
            raise _shut_down()

    def put_nowait(self, item: T) -> None:
        """The same without waiting.

        :raises QueueFull: if there is no room.
        :raises QueueShutDown: if the queue is shut down.
        """
        self._check_not_shut_down()
        if not self._handover.give(item):
            raise QueueFull(f"the queue is full: maxsize is {self._maxsize}")

    async def get(self) -> T:
        """The oldest item; waits while there is none. Cancelled, it has got nothing: an item that was
        given to it in the same moment is returned, and the cancel comes at the task's next wait.

        :raises QueueShutDown: if the queue is shut down and empty, before or meanwhile.
        """
        task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if self._handover.can_take():
            item = self._handover.take()
            task.budget -= 1
            if task.budget <= 0:
                await task.give_way()
            return item
        self._check_not_shut_down()
        deal: Deal[T] = Deal(self)
        try:
            await self._handover.takers.join(task, deal)
        except BaseException:
            self._handover.give_back(deal)
            raise
        if not deal.done:
            raise _shut_down()
        return deal.item

    def get_nowait(self) -> T:
        """The same without waiting.

        :raises QueueEmpty: if there is nothing to get.
        :raises QueueShutDown: if the queue is shut down as well.
        """
        if self._handover.can_take():
            return self._handover.take()
        self._check_not_shut_down()
        raise QueueEmpty("the queue is empty")

    async def join(self) -> None:
        """Waits until `task_done` was called as often as items were put. A cancel changes nothing."""
        task = await begin()
        if self._unfinished():
            await self._joiners.join(task, None)
        else:
            await spend(task)

    def task_done(self) -> None:
        """The work on one item that was got is over.

        :raises ValueError: if it is called more often than items were put.
        """
        if not self._unfinished():
            raise ValueError("task_done() was called more often than items were put")
        self._finish(1)

    def shutdown(self, immediate: bool = False) -> None:
        """Ends the queue: `put` raises `QueueShutDown` from now on, also where it waits, and `get` does
        so once the queue is empty. A second call may make it immediate.

        :param immediate: drops what is in the queue, as if it had been got and was done. Work on items
            that were got earlier is still waited for by `join`.
        """
        self._handover.check_caller()
        self._joiners.check_caller()
        self._is_shut_down = True
        if immediate:
            self._drop_all()
        self._handover.givers.grant_all()
        self._handover.takers.grant_all()

    def statistics(self) -> QueueStatistics:
        """What it is doing now."""
        handover = self._handover
        return QueueStatistics(
            current_size=len(handover.buffer),
            maxsize=self._maxsize,
            unfinished_tasks=self._unfinished(),
            tasks_waiting_put=len(handover.givers),
            tasks_waiting_get=len(handover.takers),
            tasks_waiting_join=len(self._joiners),
        )

    def __aiter__(self) -> Queue[T]:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.get()
        except QueueShutDown:
            raise StopAsyncIteration from None

    def _unfinished(self) -> int:
        return self._handover.accepted - self._finished

    def _finish(self, count: int) -> None:
        """:raises SharedBetweenRunsError: if who is to be woken is of another run; nothing has changed."""
        if self._unfinished() <= count:
            self._joiners.check_caller()
        self._finished += count
        if not self._unfinished():
            self._joiners.grant_all()

    def _drop_all(self) -> None:
        """Also if somebody called `task_done` for items that nobody has got yet."""
        buffer = self._handover.buffer
        count = min(len(buffer), self._unfinished())
        buffer.clear()
        self._finish(count)

    def _check_not_shut_down(self) -> None:
        if self._is_shut_down:
            raise _shut_down()


def _shut_down() -> QueueShutDown:
    return QueueShutDown("the queue was shut down")
