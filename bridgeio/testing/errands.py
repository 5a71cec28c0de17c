"""What the kit has worker processes call: functions that another process can import."""

from __future__ import annotations

__all__ = ["OddError", "raise_chained", "raise_odd"]


class OddError(Exception):
    """One that can be pickled, and not be made again: its arguments are not those that it was made with."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_odd() -> None:
    raise OddError(1, 2)


def raise_chained() -> None:
    """An error with a cause."""
    try:
        raise_odd()
    except OddError as error:
        raise KeyError("chained") from error
