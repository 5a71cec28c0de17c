"""Which processes there are, as Linux tells it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["children_of", "is_gone", "zombies"]

PROC = Path("/proc")


def children_of(pid: int) -> set[int]:
    """The processes that it has started and that are not reaped yet. Elsewhere the test is skipped."""
    return {child for child, parent, _ in _processes() if parent == pid}


def zombies() -> set[int]:
    """Children of this process that have ended, and whose exit code nobody has taken."""
    return {child for child, parent, state in _processes() if parent == os.getpid() and state == "Z"}


def is_gone(pid: int) -> bool:
    """Whether there is no such process any more, nor a zombie of it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _processes() -> Iterator[tuple[int, int, str]]:
    if not (PROC / "self/stat").exists():
        pytest.skip("only Linux tells which processes there are")
    for entry in os.listdir(PROC):
        if entry.isdigit():
            try:
                state, parent = (PROC / entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            except OSError:
                continue  # it has ended meanwhile
            yield int(entry), int(parent), state
