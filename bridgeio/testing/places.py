"""Where a task of a sweep waits: the functions that led there, in words, and those of bridgeio among them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import FrameType
from typing import Any

from bridgeio.stacks import awaited_frames

__all__ = ["frames_of", "functions_called", "words_for"]

SHOWN = 4  # functions, the innermost first
_KIT = "bridgeio.testing"
_MACHINERY = (f"{_KIT}.sweeping", f"{_KIT}.observing", f"{_KIT}.places")


def frames_of(coro: Any) -> list[FrameType]:
    """The innermost first. A coroutine that is suspended tells its frames; one that runs stands on the
    caller's stack, and so does one that nobody knows."""
    if getattr(coro, "cr_running", True):
        return [frame for frame in _outwards(sys._getframe()) if not _is_in(frame, _MACHINERY)]
    return [frame for frame, _ in reversed(awaited_frames(coro))]


def words_for(frames: Sequence[FrameType]) -> str:
    return " < ".join(f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in frames[:SHOWN])


def functions_called(frames: Sequence[FrameType]) -> list[str]:
    """Those of bridgeio that others have called, each with its module before its name."""
    return [
        f"{callee.f_globals['__name__']}.{callee.f_code.co_qualname}"
        for callee, caller in pairwise(frames)
        if _is_library(callee) and not _is_library(caller)
    ]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_library(frame: FrameType) -> bool:
    return _is_in(frame, ("bridgeio",)) and not _is_in(frame, (_KIT,))


def _is_in(frame: FrameType, places: Sequence[str]) -> bool:
    return f"{frame.f_globals.get('__name__', '')}.".startswith(tuple(f"{place}." for place in places))
