"""The keys and their values. Everything here is plain code that never waits, so a command is never half done."""

from __future__ import annotations

from typing import TypeVar

from pocketredis.deadlines import Deadlines
from pocketredis.errors import wrong_type

__all__ = ["Store"]

T = TypeVar("T", bound=object)


class Store:
    """:ivar values: bytes, a deque, a set, a dict or a `SortedSet` for each key; never an empty one.
    :ivar now: the time by which commands go, in seconds of any clock that only goes forward.
    """

    def __init__(self) -> None:
        self.values: dict[bytes, object] = {}
        self.deadlines = Deadlines()
        self.now = 0.0

    def advance(self, now: float) -> None:
        """Drops what has expired by then."""
        self.now = now
        for key in self.deadlines.due(now):
            self.values.pop(key, None)

    def get(self, key: bytes, kind: type[T]) -> T | None:
        """:raises CommandError: if it is something else."""
        value = self.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        raise wrong_type()

    def get_or_make(self, key: bytes, kind: type[T]) -> T:
        """A new one is in the store at once: put something into it."""
        value = self.get(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def set(self, key: bytes, value: object) -> None:
        """A new value has no deadline."""
        self.values[key] = value
        self.deadlines.drop(key)

    def delete(self, key: bytes) -> bool:
        """Whether it was there."""
        self.deadlines.drop(key)
        return self.values.pop(key, None) is not None

    def drop_if_empty(self, key: bytes) -> None:
        if not self.values.get(key):
            self.delete(key)

    def clear(self) -> None:
        self.values.clear()
        self.deadlines.clear()
