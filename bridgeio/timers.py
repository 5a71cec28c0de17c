"""All deadlines of a run, behind one timer of the host.

A deadline that is taken back leaves its entry in the heap until the entry comes to the top or until
such leftovers are half of the heap: a timeout that is set for each message and never fires costs one
push, and no call into the host. One that is put off keeps its entry, which goes to its new place when
it comes to the top: a timeout that each message sets anew costs two comparisons.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Protocol

__all__ = ["CallAt", "Handle", "Timer", "Timers"]

_KEEP = 64  # leftovers that are never worth a clean-up


class Handle(Protocol):
    """Something that was asked of the host and can be taken back."""

    def cancel(self) -> object: ...


CallAt = Callable[[float, Callable[[], None]], Handle]


class Timer:
    """A callback that is due at a time; ``cancel()`` takes it back, at any time, any number of times."""

    __slots__ = ("_timers", "callback", "queued_for", "when")

    def __init__(self, timers: Timers, when: float, callback: Callable[[], object]) -> None:
        self._timers = timers
        self.when = when
        self.queued_for = when
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._timers.leftover()

    def put_off(self, when: float) -> bool:
        """Moves it to another time, if it has not fired and that is no earlier than its place in the heap."""
        if self.callback is None or not self.queued_for <= when < inf:
            return False
        self.when = when
        return True


class Timers:
    """A heap of `Timer` over a host's ``now`` and ``call_at``."""

    def __init__(self, now: Callable[[], float], call_at: CallAt) -> None:
        self._now = now
        self._call_at = call_at
        self._heap: list[tuple[float, int, Timer]] = []
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
        self._push(timer)
        if when < self._armed_for:
            self._arm(when)
        return timer

    def leftover(self) -> None:
        self._leftovers += 1
        if self._leftovers > _KEEP and self._leftovers * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._leftovers = 0

    def close(self) -> None:
        self._disarm()
        self._heap.clear()
        self._leftovers = 0

    def run_due(self) -> None:
        """Calls what is due. One callback's error is raised after the host's timer is set again."""
        self._disarm()
        now = self._now()
        try:
            while self._heap and self._heap[0][0] <= now:
                timer = heapq.heappop(self._heap)[2]
                if timer.callback is None:
                    self._leftovers -= 1
                elif timer.when > now:
                    self._push(timer)
                else:
                    callback, timer.callback = timer.callback, None
                    callback()
        finally:
            self._drop_leftovers_on_top()
            if self._heap:
                self._arm(self._heap[0][0])

    def _push(self, timer: Timer) -> None:
        timer.queued_for = timer.when
        heapq.heappush(self._heap, (timer.when, next(self._order), timer))

    def _drop_leftovers_on_top(self) -> None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
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
