"""Locks and conditions: who holds it, and who is next.

Rule 1: a lock is handed over. ``release()`` makes the first who waits its owner, there and then: nobody
overtakes him, the releasing task least of all.
Rule 2: a task whose wait for the lock is cancelled has the lock, or it has left the line; see
`bridgeio.waiters`.
Rule 3: whoever waits for a condition has its lock again when ``wait()`` ends, however it ends.
Rule 4: a notification sends a task from the condition's line to the lock's, and does not wake it: it goes on
when its turn has come, in the order in which they were notified, whatever order the host runs its tasks in.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Task, TaskInfo, get_current
from bridgeio.errors import WouldBlock
from bridgeio.records import Record
from bridgeio.registry import current_task
from bridgeio.unpatched import get_ident
from bridgeio.waiters import Line, Waiter

__all__ = ["Condition", "ConditionStatistics", "Lock", "LockStatistics"]

T = TypeVar("T")

_INSIDE = "the Lock of this Condition, which is used inside `async with condition:`"


class LockStatistics(Record):
    """:ivar locked: whether a task holds it.
    :ivar owner: the task that holds it, or ``None``.
    :ivar tasks_waiting: how many tasks are in `Lock.acquire`.
    """

    locked: bool
    owner: TaskInfo | None
    tasks_waiting: int


class Lock:
    """Lets one task at a time into ``async with lock:``. May be made outside any run.

    First come, first served: a release hands it to the task that has waited longest, which owns it from
    then on, also if it is cancelled before it goes on. Only the owner releases it.

    A task that ends with the lock held leaves it locked; other runs are told so.
    """

    def __init__(self) -> None:
        self._line: Line[None] = Line("a Lock")  # its holder is the owner

    async def acquire(self) -> None:
        """Waits until the lock is the calling task's. A cancel leaves the line, and nothing behind.

        :raises RuntimeError: if the task holds it already.
        :raises SharedBetweenRunsError: if a task of another run holds it.
        """
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        line = self._line
        if line.holder is None:
            line.holder = task
            task.budget -= 1
            if task.budget > 0:
                return
            waiting = task.give_way()
        else:
            self._check_not_owned_by(task)
            waiting = line.join(task, None)
        try:
            await waiting
        except BaseException:
            self._disown(task)
            raise

    __aenter__ = acquire

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task = get_current()
        line = self._line
        if line.first is None and task is not None and line.holder is task and task.thread == get_ident():
            line.holder = None  # as a rule; a call more would show
        else:
            self.release()

    def acquire_nowait(self) -> None:
        """Takes the lock if nobody holds it.

        :raises WouldBlock: if another task does.
        :raises RuntimeError: if the task holds it already.
        :raises SharedBetweenRunsError: if a task of another run holds it.
        """
        task = current_task()
        if self._line.holder is not None:
            self._check_not_owned_by(task)
            self._line.check_run(task)
            raise WouldBlock(f"nobody gets {self._line.what} without waiting")
        self._line.holder = task

    def release(self) -> None:
        """Hands the lock to the first who waits for it.

        :raises RuntimeError: if the calling task does not hold it.
        """
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        line = self._line
        if line.holder is not task:
            self._check_owned_by(task)
        if line.first is None:
            line.holder = None
        else:
            self._hand_over()

    def locked(self) -> bool:
        """Whether a task holds it."""
        return self._line.holder is not None

    def statistics(self) -> LockStatistics:
        """What it is doing now."""
        owner = self._line.holder
        return LockStatistics(owner is not None, None if owner is None else owner.info(), len(self._line))

    async def _take_back(self, task: Task) -> None:
        """What a cancelled `Condition.wait` ends with: no cancel ends this wait, it comes at the next one."""
        if self._line.holder is None:
            self._line.holder = task
            return
        waiter = self._line.add(task, None, stays=True)
        try:
            await waiter.wait()
        except BaseException:
            self._forget(waiter)
            raise

    def _forget(self, waiter: Waiter[None]) -> None:
        """His coroutine is being closed, wherever he is: in line, or the owner."""
        self._line.remove(waiter)
        self._disown(waiter.task)

    def _hand_over(self) -> None:
        first = self._line.grant()
        self._line.holder = None if first is None else first.task

    def _disown(self, task: Task) -> None:
        """The task's coroutine is being closed: if it has the lock, nobody would ever release it."""
        if self._line.holder is task:
            self._hand_over()

    def _check_not_owned_by(self, task: Task) -> None:
        if self._line.holder is task:
            raise RuntimeError(f"{task.name} holds this Lock already, and would wait for itself")

    def _check_owned_by(self, task: Task, what: str = "this Lock") -> None:
        owner = self._line.holder
        if owner is not task:
            held = "nobody holds it" if owner is None else f"{owner.name} holds it"
            raise RuntimeError(f"{task.name} does not hold {what}: {held}")


class ConditionStatistics(Record):
    """:ivar tasks_waiting: how many tasks are in `Condition.wait` and were not notified yet.
    :ivar lock_statistics: what its lock is doing.
    """

    tasks_waiting: int
    lock_statistics: LockStatistics


class Condition:
    """Lets tasks that hold a lock wait until another says that something has changed.

    Entering it acquires the lock, and leaving it releases it. May be made outside any run.

    :param lock: to share one between conditions; by default it has its own.
    """

    def __init__(self, lock: Lock | None = None) -> None:
        self._lock = Lock() if lock is None else lock
        self._line: Line[None] = Line("a Condition")

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    async def acquire(self) -> None:
        """Acquires the lock; see `Lock.acquire`."""
        await self._lock.acquire()

    def acquire_nowait(self) -> None:
        """Acquires the lock if nobody holds it; see `Lock.acquire_nowait`."""
        self._lock.acquire_nowait()

    def release(self) -> None:
        """Releases the lock; see `Lock.release`."""
        self._lock.release()

    def locked(self) -> bool:
        """Whether a task holds the lock."""
        return self._lock.locked()

    async def wait(self) -> None:
        """Releases the lock, waits for a notification, and acquires the lock again.

        The lock is held again also after a cancel, which does not shorten that second wait. A cancel
        that comes after the notification comes at the next wait; so ask again what you waited for.

        :raises RuntimeError: if the calling task does not hold the lock.
        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = await begin()
        self._lock._check_owned_by(task, _INSIDE)
        waiter = self._line.add(task, None)
        self._lock._hand_over()
        try:
            await waiter.wait()
        except BaseException as error:
            if waiter.stays:  # notified, so only who closes the coroutine ends this wait
                self._line.send_first(self._lock._line)  # the notification is the next one's
                self._lock._forget(waiter)
            elif not isinstance(error, GeneratorExit):  # then nothing can be awaited any more
                await self._lock._take_back(task)
            raise

    async def wait_for(self, predicate: Callable[[], T]) -> T:
        """Waits until ``predicate()`` is true, and returns its value. It is asked with the lock held.

        :raises RuntimeError: if the calling task does not hold the lock.
        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = await begin()
        self._lock._check_owned_by(task, _INSIDE)
        result = predicate()
        if result:
            await spend(task)
        while not result:
            await self.wait()
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wakes the ``n`` tasks that have waited longest. They go on when they have the lock.

        :raises RuntimeError: if the calling task does not hold the lock.
        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = current_task()
        self._lock._check_owned_by(task, _INSIDE)
        self._line.check_run(task)
        while n > 0 and self._line.send_first(self._lock._line):
            n -= 1

    def notify_all(self) -> None:
        """Wakes every waiting task; see `notify`."""
        self.notify(len(self._line))

    def statistics(self) -> ConditionStatistics:
        """What it is doing now."""
        return ConditionStatistics(len(self._line), self._lock.statistics())
