"""Barriers: nobody goes on until all have come."""

from __future__ import annotations

from types import TracebackType

from bridgeio.checkpoints import begin, spend
from bridgeio.errors import BrokenBarrierError
from bridgeio.limits import check_count
from bridgeio.records import Record
from bridgeio.waiters import Line

__all__ = ["Barrier", "BarrierStatistics"]


class BarrierStatistics(Record):
    """:ivar tasks_waiting: how many tasks are in `Barrier.wait`, and lack others."""

    tasks_waiting: int


class Barrier:
    """A place where a fixed number of tasks wait for each other, with `asyncio.Barrier`'s names.

    May be made outside any run. The last to come lets all go on, and the barrier is empty again at once:
    there is no time in which it drains. ``async with barrier:`` waits before the block.

    :param parties: how many have to come.
    :raises TypeError: if that is no integer.
    :raises ValueError: if it is less than one.
    """

    def __init__(self, parties: int) -> None:
        check_count("parties", parties, least=1)
        self._parties = parties
        self._broken = False
        self._line: Line[int | None] = Line("a Barrier")  # an item is the index; None: it broke

    async def __aenter__(self) -> int:
        return await self.wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing: the block may be left in any order."""

    async def wait(self) -> int:
        """Waits until ``parties`` tasks are here. A task that is cancelled leaves, the others go on waiting.

        :returns: a number that no other of these tasks has: 0 for the first who came, up to ``parties - 1``.
        :raises BrokenBarrierError: if the barrier is broken, or is broken or reset meanwhile.
        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        task = await begin()
        self._check_whole()
        self._line.check_run(task)
        if len(self._line) == self._parties - 1:
            self._let_all_go_on()
            await spend(task)
            return self._parties - 1
        waiter = self._line.add(task, None)
        await waiter.wait()
        if waiter.item is None:
            raise BrokenBarrierError("this Barrier was aborted or reset while the task waited")
        return waiter.item

    async def reset(self) -> None:
        """Makes the barrier empty and whole. Those who wait get `BrokenBarrierError`.

        In a cancelled scope, too, this is done before the cancellation is raised.

        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        self._send_away(broken=False)
        await spend(await begin())

    async def abort(self) -> None:
        """Breaks the barrier: those who wait, and all who come, get `BrokenBarrierError`, until a `reset`.

        In a cancelled scope, too, this is done before the cancellation is raised.

        :raises SharedBetweenRunsError: if tasks of another run are waiting.
        """
        self._send_away(broken=True)
        await spend(await begin())

    @property
    def parties(self) -> int:
        """How many have to come."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many have come, and lack others."""
        return len(self._line)

    @property
    def broken(self) -> bool:
        """Whether it was aborted, and not reset."""
        return self._broken

    def statistics(self) -> BarrierStatistics:
        """What it is doing now."""
        return BarrierStatistics(len(self._line))

    def _check_whole(self) -> None:
        if self._broken:
            raise BrokenBarrierError("this Barrier was aborted; reset() makes it whole")

    def _let_all_go_on(self) -> None:
        index = 0
        while (waiter := self._line.grant()) is not None:
            waiter.item = index
            index += 1

    def _send_away(self, *, broken: bool) -> None:
        self._line.check_caller()
        self._broken = broken
        self._line.grant_all()
