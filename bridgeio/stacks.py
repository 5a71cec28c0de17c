"""Where a coroutine is: its frames, from the outermost to the innermost, also while it is suspended.

Rule 1: a coroutine that is suspended tells what it awaits, and so on inwards. One that runs does not; its
frames are those of its thread, or of its greenlet, as far out as its own.
Rule 2: another thread may be at work with it meanwhile: what has changed is left out, and nothing raises.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

__all__ = ["Between", "Frames", "awaited_frames", "format_frames", "frames_up_to", "is_from"]

Frames = list[tuple[FrameType, int]]

_DEEPEST = 40  # frames that are shown; a recursion shows its inner end
_OUTSIDE = ("bridgeio.testing.", "bridgeio.demo.")  # they are ours, and use the library as others do


class Between:
    """What stands between a coroutine and one that it awaits.

    :ivar awaited: the latter.
    """

    awaited: Any


def awaited_frames(coro: Any) -> Frames:
    """Of a suspended coroutine, and of what it awaits."""
    found: Frames = []
    while coro is not None and len(found) < 10_000:
        frame, coro = _step_inwards(coro)
        if frame is not None:
            found.append((frame, frame.f_lineno or 0))
    return found


def frames_up_to(innermost: FrameType, coro: Any) -> Frames:
    """From a coroutine that runs inwards to where its thread is; all of the thread's, if it is not there."""
    outermost = getattr(coro, "cr_frame", None)
    found: Frames = []
    frame: FrameType | None = innermost
    while frame is not None:
        found.append((frame, frame.f_lineno or 0))
        if frame is outermost:
            break
        frame = frame.f_back
    return found[::-1]


def is_from(frame: FrameType, places: Iterable[str]) -> bool:
    """Whether the code is of one of these modules and packages."""
    module = f"{frame.f_globals.get('__name__', '')}."
    return module.startswith(tuple(f"{place}." for place in places)) and not module.startswith(_OUTSIDE)


def format_frames(frames: Frames) -> list[str]:
    """As tracebacks show them, in single lines."""
    from traceback import StackSummary  # slow to import; every run has loaded it by now, and so have most frameworks

    summary = StackSummary.extract(iter(frames[-_DEEPEST:]))
    left_out = len(frames) - len(summary)
    lines = [f"... {left_out} outer frames"] if left_out > 0 else []
    return lines + [line[2:] for entry in summary.format() for line in entry.splitlines()]


def _step_inwards(coro: Any) -> tuple[FrameType | None, Any]:
    if isinstance(coro, CoroutineType):
        return coro.cr_frame, coro.cr_await
    if isinstance(coro, GeneratorType):
        return coro.gi_frame, coro.gi_yieldfrom
    if isinstance(coro, AsyncGeneratorType):
        return coro.ag_frame, coro.ag_await
    if isinstance(coro, Between):
        return None, coro.awaited
    return None, next(_wrapped(coro), None)


def _wrapped(coro: Any) -> Iterator[Any]:
    """What `coroutine.__await__` and the steps of asynchronous generators hide is told by the collector alone."""
    if type(coro).__name__ in ("coroutine_wrapper", "async_generator_asend", "async_generator_athrow"):
        for inner in gc.get_referents(coro):
            if isinstance(inner, CoroutineType | AsyncGeneratorType):
                yield inner
