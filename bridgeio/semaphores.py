"""Semaphores and capacity limiters: how many at once.

Rule 1: what is given back goes to the first who waits, there and then. While somebody waits, nothing is
free, so nobody overtakes him and no more is handed out than there is.
Rule 2: a task whose wait is cancelled has what it waited for, or it has left the line; see
`bridgeio.waiters`.
"""

from __future__ import annotations

from math import inf
from types import TracebackType
from typing import Self

from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Host, Task
from bridgeio.errors import SharedBetweenRunsError, WouldBlock
from bridgeio.limits import check_count
from bridgeio.records import Record
from bridgeio.registry import current_task
from bridgeio.waiters import Line, Waiter

__all__ = ["CapacityLimiter", "CapacityLimiterStatistics", "Semaphore", "SemaphoreStatistics", "check_limiter"]


class SemaphoreStatistics(Record):
    """:ivar tasks_waiting: how many tasks are in `Semaphore.acquire`."""

    tasks_waiting: int


class Semaphore:
    """A number that tasks take one from, and give one back to; at zero they wait. May be made outside any run.

    First come, first served. Any task may release, also one that has acquired nothing.

    :param initial_value: zero or more.
    :param max_value: a release beyond it is an error; ``None`` for no such bound.
    :raises TypeError: if one of them is no integer.
    :raises ValueError: if one of them is too small.
    """

    def __init__(self, initial_value: int, *, max_value: int | None = None) -> None:
        check_count("initial_value", initial_value, least=0)
        if max_value is not None:
            check_count("max_value", max_value, least=initial_value)
        self._value = initial_value
        self._max_value = max_value
        self._line: Line[None] = Line("a Semaphore")

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    async def acquire(self) -> None:
        """Waits until the value is not zero, and takes one. A cancel leaves the line, and nothing behind.

        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        waiter = None
        if self._value:
            self._value -= 1
            task.budget -= 1
            if task.budget > 0:
                return
        else:
            waiter = self._line.add(task, None)
        try:
            await (task.give_way() if waiter is None else waiter.wait())
        except BaseException:
            if waiter is None or waiter.granted:  # the coroutine is being closed, and would never release
                self._give()
            raise

    def acquire_nowait(self) -> None:
        """Takes one if the value is not zero.

        :raises WouldBlock: if it is.
        """
        if not self._value:
            raise WouldBlock("this Semaphore's value is zero")
        self._value -= 1

    def release(self) -> None:
        """Gives one back: to the task that has waited longest, else to the value.

        May be called outside tasks, in the run's thread.

        :raises ValueError: if the value is ``max_value`` already.
        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        if self._value == self._max_value:
            raise ValueError(f"this Semaphore was released too often: its value is max_value, {self._max_value}")
        self._line.check_caller()
        self._give()

    @property
    def value(self) -> int:
        """How many could be acquired without waiting."""
        return self._value

    @property
    def max_value(self) -> int | None:
        """The bound that was given."""
        return self._max_value

    def statistics(self) -> SemaphoreStatistics:
        """What it is doing now."""
        return SemaphoreStatistics(len(self._line))

    def _give(self) -> None:
        if self._line.grant() is None:
            self._value += 1


class CapacityLimiterStatistics(Record):
    """:ivar borrowed_tokens: how many tokens are borrowed.
    :ivar total_tokens: how many there are.
    :ivar borrowers: who has one: a `TaskInfo` for a task, else what it was borrowed on behalf of.
    :ivar tasks_waiting: how many tasks wait for one.
    """

    borrowed_tokens: int
    total_tokens: float
    borrowers: tuple[object, ...]
    tasks_waiting: int


class CapacityLimiter:
    """Lends a number of tokens, at most one to each borrower. May be made outside any run.

    A borrower is the calling task, or any hashable object that a token is borrowed on behalf of. First
    come, first served.

    :param total_tokens: how many there are: an integer, zero or more, or ``math.inf``.
    :raises TypeError: for other types.
    :raises ValueError: for less than zero.
    """

    def __init__(self, total_tokens: float) -> None:
        self._total = _checked(total_tokens)
        self._borrowers: dict[object, Host] = {}
        self._waiting: set[object] = set()
        self._line: Line[object] = Line("a CapacityLimiter")

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def total_tokens(self) -> float:
        """How many tokens there are. May be set: more are lent at once to those who wait; with fewer, nobody
        gets one until enough have come back.

        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        return self._total

    @total_tokens.setter
    def total_tokens(self, value: float) -> None:
        total = _checked(value)
        self._line.check_caller()
        self._total = total
        self._lend()

    @property
    def borrowed_tokens(self) -> int:
        """How many tokens are borrowed."""
        return len(self._borrowers)

    @property
    def available_tokens(self) -> float:
        """How many are left; less than zero if `total_tokens` was set to less than are borrowed."""
        return self._total - len(self._borrowers)

    async def acquire(self) -> None:
        """Borrows a token for the calling task; see `acquire_on_behalf_of`."""
        await self.acquire_on_behalf_of(current_task())

    def acquire_nowait(self) -> None:
        """Borrows a token for the calling task; see `acquire_on_behalf_of_nowait`."""
        self.acquire_on_behalf_of_nowait(current_task())

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Borrows a token, and waits until there is one. A cancel leaves the line, and nothing behind.

        :raises RuntimeError: if the borrower has one, or another task is waiting on its behalf.
        :raises SharedBetweenRunsError: if tokens were borrowed, or are waited for, in another run.
        """
        task = await begin()
        waiter = None if self._take(task, borrower) else self._join(task, borrower)
        try:
            await (spend(task) if waiter is None else waiter.wait())
        except BaseException:
            if waiter is None or waiter.granted:  # the coroutine is being closed, and would never release
                self._give(borrower)
            else:
                self._waiting.discard(borrower)
            raise

    def acquire_on_behalf_of_nowait(self, borrower: object) -> None:
        """Borrows a token if there is one that nobody waits for.

        :raises WouldBlock: if there is none.
        :raises RuntimeError: if the borrower has one, or another task is waiting on its behalf.
        :raises SharedBetweenRunsError: if tokens were borrowed, or are waited for, in another run.
        """
        if not self._take(current_task(), borrower):
            raise WouldBlock(f"all tokens of this CapacityLimiter ({self._total}) are borrowed")

    def release(self) -> None:
        """Gives the calling task's token back; see `release_on_behalf_of`."""
        self.release_on_behalf_of(current_task())

    def release_on_behalf_of(self, borrower: object) -> None:
        """Gives a borrower's token back, and with it to the task that has waited longest.

        May be called outside tasks, in the run's thread.

        :raises RuntimeError: if the borrower has none.
        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        if borrower not in self._borrowers:
            raise RuntimeError(f"{_show(borrower)} holds none of this CapacityLimiter's tokens")
        self._line.check_caller()
        self._give(borrower)

    def statistics(self) -> CapacityLimiterStatistics:
        """What it is doing now."""
        borrowers = tuple(who.info() if isinstance(who, Task) else who for who in self._borrowers)
        return CapacityLimiterStatistics(len(borrowers), self._total, borrowers, len(self._line))

    def _take(self, task: Task, borrower: object) -> bool:
        if borrower in self._borrowers:
            raise RuntimeError(f"{_show(borrower)} holds one of this CapacityLimiter's tokens already")
        if borrower in self._waiting:
            raise RuntimeError(f"a task is waiting for one of this CapacityLimiter's tokens for {_show(borrower)}")
        self._check_run(task.host)
        if len(self._borrowers) >= self._total:  # as long as anybody waits, `_lend` sees to that
            return False
        self._borrowers[borrower] = task.host
        return True

    def _join(self, task: Task, borrower: object) -> Waiter[object]:
        waiter = self._line.add(task, borrower)
        self._waiting.add(borrower)
        return waiter

    def _give(self, borrower: object) -> None:
        self._borrowers.pop(borrower, None)
        self._lend()

    def _lend(self) -> None:
        while self._line and len(self._borrowers) < self._total:
            waiter = self._line.grant()
            assert waiter is not None
            self._waiting.discard(waiter.item)
            self._borrowers[waiter.item] = waiter.task.host

    def _check_run(self, host: Host) -> None:
        """Those who borrow are all of one run, so one of them tells."""
        for borrower, of in self._borrowers.items():
            if of is not host:
                raise SharedBetweenRunsError(
                    f"{_show(borrower)} holds a token of a CapacityLimiter that was borrowed in another run: one run "
                    "at a time can use it. Make one for each run; or, if that run is over, see that none ends "
                    "without giving it back"
                )
            return


def check_limiter(limiter: object) -> None:
    """:raises TypeError: unless it is one, or ``None``."""
    if limiter is not None and not isinstance(limiter, CapacityLimiter):
        raise TypeError(f"limiter is a CapacityLimiter, not {limiter!r}")


def _checked(total_tokens: float) -> float:
    if total_tokens != inf:
        check_count("total_tokens", total_tokens, least=0)
    return total_tokens


def _show(borrower: object) -> str:
    return borrower.name if isinstance(borrower, Task) else repr(borrower)
