"""Numbers out of arguments."""

from __future__ import annotations

from math import isnan

from pocketredis.errors import CommandError, not_an_integer
from rediswire.decoding import as_integer

__all__ = ["fits", "integer", "number"]

LARGEST = 2**63 - 1


def integer(argument: bytes) -> int:
    """:raises CommandError: if it is none of 64 bits."""
    try:
        value = as_integer(argument)
    except ValueError:
        raise not_an_integer() from None
    if not fits(value):
        raise not_an_integer()
    return value


def fits(value: int) -> bool:
    """Whether 64 bits can hold it."""
    return -LARGEST - 1 <= value <= LARGEST


def number(argument: bytes) -> float:
    """:raises CommandError: if it is none."""
    try:
        value = float(argument)
    except ValueError:
        value = float("nan")
    if isnan(value):
        raise CommandError("ERR value is not a valid float")
    return value
