"""All deadlines of a run, behind one timer of the host.

A deadline that is taken back leaves its entry in the heap, unless that is the last, until the entry comes to
the top or until such leftovers are half of the heap: a timeout that is set for each message and never fires
costs one push, and no call into the host. One that is put off keeps its entry, which goes to its new place when
it comes to the top: a timeout that each message sets anew costs two comparisons.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Protocol

__all__ = ["CallAt", "Due", "Handle", "Timer", "Timers", "put_off"]

_KEEP = 64  # leftovers that are never worth a clean-up
_TICK = 0.001  # seconds; of a timer that is coarser than its clock, uvloop's


class Handle(Protocol):
    """Something that was asked of the host and can be taken back."""

    def cancel(self) -> object: ...


CallAt = Callable[[float, Callable[[], None]], Handle]


class Due(Protocol):
    """What can stand in `Timers`: a `Timer`, or what has a time of its own, as a cancel scope does.

    :ivar when: may be put off by setting it, see `put_off`.
    :ivar queued_for: the time of its entry in the heap; infinity if it has none.
    """

    when: float
    queued_for: float

    def ring(self) -> object:
        """It is due, and stands here no more."""


class Timer:
    """A callback that is due at a time; ``cancel()`` takes it back, at any time, any number of times."""

    __slots__ = ("_timers", "queued_for", "ring", "when")

    def __init__(self, timers: Timers, when: float, callback: Callable[[], object]) -> None:
        self._timers = timers
        self.when = when
        self.queued_for = inf
        self.ring = callback

    def cancel(self) -> None:
        self._timers.leave(self)
        self.ring = _nothing


def _nothing() -> None:
    """What a timer calls that was taken back."""


def put_off(due: Due, when: float) -> bool:
    """Moves it to another time, if it stands in a heap and that is no earlier than its place there."""
    if not due.queued_for <= when < inf:
        return False
    due.when = when
    return True


class Timers:
    """A heap of `Due` over a host's ``now`` and ``call_at``."""

    def __init__(self, now: Callable[[], float], call_at: CallAt) -> None:
        self._now = now
        self._call_at = call_at
        self._heap: list[tuple[float, int, Due]] = []
        self._order = count()
        self._leftovers = 0
        self._armed: Handle | None = None
        self._armed_for = inf

    def __len__(self) -> int:
        return len(self._heap) - self._leftovers

    def add(self, when: float, callback: Callable[[], object]) -> Timer:
        """:raises ValueError: for a time that is no number: nothing would come after it in a heap."""
        if when != when:  # only NaN is not itself
            raise ValueError("a time must be a number, not NaN")
        timer = Timer(self, when, callback)
        if when != inf:
            self.enter(timer)
        return timer

    def enter(self, due: Due) -> None:
        """It is to ring at its time, which is a number, and not infinity."""
        when = due.queued_for = due.when
        heappush(self._heap, (when, next(self._order), due))
        if when < self._armed_for:
            self._arm(when)

    def leave(self, due: Due) -> None:
        """It is not to ring any more, if it was."""
        if due.queued_for == inf:
            return
        due.queued_for = inf
        heap = self._heap
        if heap and heap[-1][2] is due:  # as a rule: the newest is the latest, and nothing stands below it
            heap.pop()
            return
        self._leftovers += 1
        if self._leftovers > _KEEP and self._leftovers * 2 > len(heap):
            live = {entry[2]: entry for entry in heap if entry[2].queued_for == entry[0]}
            self._heap = list(live.values())
            heapify(self._heap)
            self._leftovers = 0

    def close(self) -> list[Due]:
        """Those that stood here, and do not any more."""
        self._disarm()
        heap, self._heap = self._heap, []
        self._leftovers = 0
        stood = [due for at, _, due in heap if due.queued_for == at]
        for due in stood:
            due.queued_for = inf
        return stood

    def run_due(self) -> None:
        """Calls what is due. One callback's error is raised after the host's timer is set again.

        A host whose timer came too early is asked for a time that it can tell from now: for the same, it would
        come at once, again and again.
        """
        now = self._now()
        earliest = now + _TICK if now < self._armed_for else now
        self._disarm()
        try:
            while self._heap and self._heap[0][0] <= now:
                at, _, due = heappop(self._heap)
                if due.queued_for != at:
                    self._leftovers -= 1
                elif due.when > now:
                    self.enter(due)
                else:
                    due.queued_for = inf
                    due.ring()
        finally:
            self._drop_leftovers_on_top()
            if self._heap:
                self._arm(max(self._heap[0][0], earliest))

    def _drop_leftovers_on_top(self) -> None:
        while self._heap and self._heap[0][2].queued_for != self._heap[0][0]:
            heappop(self._heap)
            self._leftovers -= 1

    def _arm(self, when: float) -> None:
        self._disarm()
        self._armed_for = when
        self._armed = self._call_at(when, self.run_due)

    def _disarm(self) -> None:
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self._armed_for = inf
