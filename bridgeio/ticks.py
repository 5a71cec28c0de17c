"""Regular work: ticks on a grid of times, so that what the work takes does not add up."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING
from weakref import ref

from bridgeio.checkpoints import begin
from bridgeio.errors import BusyError
from bridgeio.scopes import sleep_until

if TYPE_CHECKING:
    from bridgeio.contract import Host

__all__ = ["Grid", "Ticks", "every"]


class Grid:
    """Numbered times, the same distance apart. Tick 0 is at ``first``.

    Each is worked out from the first and not from the one before, so errors do not add up.
    """

    __slots__ = ("first", "seconds")

    def __init__(self, first: float, seconds: float) -> None:
        self.first = first
        self.seconds = seconds

    def time_of(self, number: int) -> float:
        return self.first + number * self.seconds

    def due(self, number: int, now: float) -> int:
        """Which tick it is, for one who has waited for tick ``number``: that one, or a later one if more than
        one distance has passed since; the first cannot be missed. (The division alone may say one too few.)"""
        return max(number, int((now - self.first) / self.seconds)) if number else 0


class Ticks:
    """What `every` returns: an async iterator of tick numbers, for one task at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._grid = Grid(0.0, seconds)
        self._next = 0
        self._host: ref[Host] | None = None
        self._busy = False

    def __aiter__(self) -> Ticks:
        return self

    async def __anext__(self) -> int:
        task = await begin()
        if self._busy:
            raise BusyError("another task is waiting for the next tick of this every()")
        host: Host = task.host
        if self._host is None or self._host() is not host:
            self._begin_anew(host)
        self._busy = True
        try:
            await sleep_until(self._grid.time_of(self._next))
        finally:
            self._busy = False
        number = self._grid.due(self._next, host.now())
        self._next = number + 1
        return number

    def _begin_anew(self, host: Host) -> None:
        """The times of one run mean nothing on another's clock."""
        self._host = ref(host)
        self._grid = Grid(host.now(), self._seconds)
        self._next = 0


def every(seconds: float) -> Ticks:
    """An endless async iterator of ticks, ``seconds`` apart, that does not drift::

        async for number in every(60):
            await report()

    The first tick, number 0, comes at once: the work is done first, and then there is a wait. Tick
    ``n`` comes ``n * seconds`` after the first, however long the work between two ticks takes. If it
    takes so long that a tick is missed, that tick comes as soon as it is asked for; if several are, only the
    newest of them comes, and the numbers of the others are left out: after 4, 7 means that 5 and 6
    were missed. Missed ticks are never made up for in a burst.

    The clock is `current_time`'s, and the times count from the first tick, not from this call, which
    may be made outside any run; in a later run they begin anew with number 0. Each tick gives way to other
    tasks at least once. A cancelled wait has taken no tick. One task at a time may wait; a second is
    a `BusyError`.

    :param seconds: the distance between two ticks.
    :raises ValueError: unless it is more than zero and finite.
    """
    if not 0 < seconds < inf:
        raise ValueError(f"the seconds between two ticks must be more than zero and finite, not {seconds!r}")
    return Ticks(seconds)
