"""A run on threads, and what a test wants to see of it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import bridgeio
from bridgeio.registry import current_task
from bridgeio_threads.gate import Gate
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.lookout import Lookout

__all__ = ["host", "is_parked", "native_threads", "run"]

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]], **options: object) -> T:
    return bridgeio.run(main, backend="threads", backend_options=options)


def host() -> ThreadsHost:
    """The host of the calling task."""
    found = current_task().host
    assert isinstance(found, ThreadsHost)
    return found


def is_parked(thread: threading.Thread) -> bool:
    """Whether it waits, or is just about to, in a wait of ours."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code in (Gate.wait.__code__, Lookout.keep.__code__)


def native_threads() -> int:
    """The threads of this process as the system counts them."""
    folder = Path("/proc/self/task")
    return len(os.listdir(folder)) if folder.exists() else threading.active_count()
