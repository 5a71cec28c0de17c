"""The bounds that protect a process by default, each with its unit, and what may be said instead."""

from __future__ import annotations

from math import inf

__all__ = [
    "BUDGET",
    "CHUNK_MAX",
    "CHUNK_MIN",
    "DATAGRAM_MAX",
    "EVENTS_PER_DISPATCH",
    "GRACE",
    "HANDSHAKE_TIMEOUT",
    "HAPPY_EYEBALLS_DELAY",
    "HIGH_WATER",
    "LIMIT",
    "LINES_AT_ONCE",
    "LINGER",
    "LOW_WATER",
    "RECEIVE_MAX",
    "SEND_FIRST",
    "TERMINATION_GRACE",
    "UNRESPONSIVE_AFTER",
    "WRITE_LIMIT",
    "check_count",
    "check_seconds",
    "check_size",
    "water_marks",
]

BUDGET = 64  # operations a task may do without giving way to others
EVENTS_PER_DISPATCH = 256  # readiness events taken from the kernel before the host has its turn

CHUNK_MIN = 4 * 1024  # bytes asked of the kernel in one receive, at first ...
CHUNK_MAX = 64 * 1024  # ... and once a peer has filled every chunk before
RECEIVE_MAX = 256 * 1024  # bytes asked of the kernel at once, by a read that wants that many
SEND_FIRST = 256 * 1024  # bytes offered to the kernel at once, of many; if it takes them all, twice as many, and so on

DATAGRAM_MAX = 64 * 1024  # bytes of one datagram; UDP's cannot have more, and UNIX sockets tell the size before

LINES_AT_ONCE = 4 * 1024  # bytes of whole lines that are copied to be read one by one
LIMIT = 64 * 1024  # bytes that readuntil() may buffer while it looks for the separator
HIGH_WATER = 64 * 1024  # bytes waiting to be sent above which drain() waits ...
LOW_WATER = HIGH_WATER // 4  # ... until there are no more than these
WRITE_LIMIT = 64 * 1024 * 1024  # bytes waiting to be sent above which write() refuses

LINGER = 10.0  # seconds that close() may go on flushing
GRACE = 10.0  # seconds that a draining server waits for its handlers
UNRESPONSIVE_AFTER = 4.0  # seconds after the cancel when a drain gives a handler up
HAPPY_EYEBALLS_DELAY = 0.25  # seconds between two connection attempts, RFC 8305 section 5
TERMINATION_GRACE = 5.0  # seconds that a program gets between SIGTERM and SIGKILL
HANDSHAKE_TIMEOUT = 30.0  # seconds for a TLS handshake, on both sides


def check_count(name: str, count: object, *, least: float = -inf, most: float = inf) -> None:
    """Of a parameter that counts something.

    :raises TypeError: for what is no whole number.
    :raises ValueError: for one below ``least``, or above ``most``.
    """
    if not isinstance(count, int) or isinstance(count, bool):
        raise TypeError(f"{name} must be an integer, not {count!r}")
    if not least <= count <= most:
        wanted = f"{least} or more" if most == inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be {wanted}, not {count}")


def check_size(name: str, size: object) -> None:
    """Of a parameter that bounds a buffer.

    :raises TypeError: for what is no whole number.
    :raises ValueError: for one below 1.
    """
    if not isinstance(size, int) or isinstance(size, bool):
        raise TypeError(f"{name} is a number of bytes, not {size!r}")
    if size < 1:
        raise ValueError(f"{name} must be at least 1 byte, not {size}")


def check_seconds(name: str, seconds: object, *, positive: bool = False) -> None:
    """Of a parameter that bounds a time.

    :param positive: refuses 0, too.
    :raises TypeError: for what is no number.
    :raises ValueError: for a negative one, and for nan.
    """
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"{name} is a number of seconds, not {seconds!r}")
    if not (seconds > 0 if positive else seconds >= 0):
        raise ValueError(f"{name} is a number of seconds {'above 0' if positive else 'from 0 on'}, not {seconds}")


def water_marks(high: int | None, low: int | None) -> tuple[int, int]:
    """Both, of which either or none was given.

    :raises TypeError: for what is no whole number.
    :raises ValueError: unless ``high >= low >= 0``.
    """
    for name, mark in ("high", high), ("low", low):
        if mark is not None:
            check_count(name, mark, least=0)
    if high is None:
        high = HIGH_WATER if low is None else 4 * low
    if low is None:
        low = high // 4
    if low > high:
        raise ValueError(f"high ({high}) must be low ({low}) or more")
    return high, low
