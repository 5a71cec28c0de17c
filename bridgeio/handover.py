"""Handing items over: a bounded buffer with a line at each end. `Queue` and memory object streams are made of it.

Rule 1: items come out in the order in which they were accepted, and are accepted in the order in which
those who give them came.
Rule 2: while anybody waits to take, the buffer is empty; while anybody waits to give, it is full. So
nobody who comes later gets past those who wait.
Rule 3: an item for which somebody waits is his at once, not when he goes on. If he is cancelled in
between he goes on with the item, and the cancel comes at his next wait (rule 2 of `bridgeio.waiters`).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from bridgeio.waiters import Line, Waiter

__all__ = ["Deal", "Handover"]

T = TypeVar("T")


class Deal(Generic[T]):
    """What a task brings into one of the lines.

    :ivar party: on whose behalf it waits, so that it can be sent away with that.
    :ivar item: what it gives; once the deal is done, what it has got.
    :ivar done: whether the item has changed hands. If it has not when the wait ends, the task was sent away.
    """

    __slots__ = ("done", "item", "party")

    def __init__(self, party: object, item: Any = None) -> None:
        self.party = party
        self.item: T = item
        self.done = False


class Handover(Generic[T]):
    """Who gives and finds no room, or takes and finds nothing, may join ``givers`` or ``takers`` with a `Deal`.

    :ivar room: how many items the buffer holds; with none, items go from task to task.
    :ivar accepted: how many items have come in so far. One whose giver waits has not.
    """

    __slots__ = ("accepted", "buffer", "givers", "room", "takers")

    def __init__(self, room: float, what: str) -> None:
        self.room = room
        self.accepted = 0
        self.buffer: deque[T] = deque()
        self.givers: Line[Deal[T]] = Line(f"room in {what}")
        self.takers: Line[Deal[T]] = Line(f"an item of {what}")

    def give(self, item: T) -> bool:
        """To the first who waits, or into the buffer; ``False`` if neither can be.

        :raises SharedBetweenRunsError: if who waits is of another run; nothing was given.
        """
        if self.takers.first is not None:
            self._hand_to(self.takers.first, item)
        elif len(self.buffer) < self.room:
            self.buffer.append(item)
        else:
            return False
        self.accepted += 1
        return True

    def can_take(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self.buffer) or self.givers.first is not None

    def take(self) -> T:
        """The oldest item. The room goes to the first who waits for it. Only if there is something.

        :raises SharedBetweenRunsError: if who waits is of another run; nothing was taken.
        """
        if self.givers.first is not None:
            self._take_from(self.givers.first)
        return self.buffer.popleft()

    def give_back(self, deal: Deal[T]) -> None:
        """For a taker whose wait was not ended but broken off, because its coroutine is being closed: what
        it was given, if anything, goes to the next, or to the front of the buffer."""
        if not deal.done:
            return
        if self.takers.first is not None:
            self._hand_to(self.takers.first, deal.item)
        else:
            self.buffer.appendleft(deal.item)

    def check_caller(self) -> None:
        """:raises SharedBetweenRunsError: if tasks of another run than the caller's wait at either end."""
        self.givers.check_caller()
        self.takers.check_caller()

    def _hand_to(self, taker: Waiter[Deal[T]], item: T) -> None:
        self.takers.check_caller()
        taker.item.item = item
        taker.item.done = True
        self.takers.grant()

    def _take_from(self, giver: Waiter[Deal[T]]) -> None:
        self.givers.check_caller()
        giver.item.done = True
        self.buffer.append(giver.item.item)  # one too many for a moment, or behind nothing at all
        self.accepted += 1
        self.givers.grant()
