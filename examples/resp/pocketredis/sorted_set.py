"""Members in the order of their scores."""

from __future__ import annotations

from bisect import bisect_left, insort

__all__ = ["SortedSet"]


class SortedSet:
    """:ivar scores: of each member.
    :ivar order: (score, member), sorted.
    """

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.order)

    def set(self, member: bytes, score: float) -> bool:
        """Whether it is new."""
        is_new = not self.remove(member)
        self.scores[member] = score
        insort(self.order, (score, member))
        return is_new

    def remove(self, member: bytes) -> bool:
        """Whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True

    def pop_lowest(self) -> tuple[float, bytes]:
        score, member = self.order.pop(0)
        del self.scores[member]
        return score, member
