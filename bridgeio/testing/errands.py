"""What the kit has worker processes call: functions that another process can import."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

__all__ = ["OddError", "compute_for_ever", "fork", "fork_and_crash", "raise_chained", "raise_odd", "reap"]


class OddError(Exception):
    """One that can be pickled, and not be made again: its arguments are not those that it was made with."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def compute_for_ever() -> None:
    """And says so first. Nothing else in its process can do anything meanwhile."""
    sys.stdout.write("computing\n")
    sys.stdout.flush()
    sum(range(1 << 62))


def fork_and_crash(path: str) -> None:
    """Leaves a child behind that has all that the worker has, writes its number into a file, and is gone."""
    child = os.fork()
    if not child:
        signal.pause()
    Path(path).write_text(str(child))
    os._exit(3)


def fork() -> int:
    """The system's own, which in a process that gevent has patched `os.fork` is not; nor is it when it is sent."""
    return os.fork()


def reap(child: int) -> tuple[int, int]:
    """As `fork`, of `os.waitpid`."""
    return os.waitpid(child, 0)


def raise_odd() -> None:
    raise OddError(1, 2)


def raise_chained() -> None:
    """An error with a cause."""
    try:
        raise_odd()
    except OddError as error:
        raise KeyError("chained") from error
