"""When keys expire. No task looks after them: whoever is about to use the store asks what is due by then."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

__all__ = ["Deadlines"]

SLACK = 64


class Deadlines:
    """A heap with what was moved or dropped left in it, until that is more than half of it."""

    def __init__(self) -> None:
        self._when: dict[bytes, float] = {}
        self._heap: list[tuple[float, bytes]] = []

    def set(self, key: bytes, when: float) -> None:
        self._when[key] = when
        heappush(self._heap, (when, key))
        if len(self._heap) > 2 * len(self._when) + SLACK:
            self._heap = [(when, key) for key, when in self._when.items()]
            heapify(self._heap)

    def get(self, key: bytes) -> float | None:
        return self._when.get(key)

    def drop(self, key: bytes) -> bool:
        """Whether it had one."""
        return self._when.pop(key, None) is not None

    def clear(self) -> None:
        self._when.clear()
        self._heap.clear()

    def due(self, now: float) -> Iterator[bytes]:
        """The keys whose time is over; they have no deadline any more."""
        while self._heap and self._heap[0][0] <= now:
            when, key = heappop(self._heap)
            if self._when.get(key) == when:
                del self._when[key]
                yield key
