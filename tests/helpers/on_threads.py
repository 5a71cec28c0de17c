"""A run on threads, and what a test wants to see of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import bridgeio
from bridgeio.registry import current_task
from bridgeio_threads.host import ThreadsHost

__all__ = ["host", "native_threads", "run"]

T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]], **options: object) -> T:
    return bridgeio.run(main, backend="threads", backend_options=options)


def host() -> ThreadsHost:
    """The host of the calling task."""
    found = current_task().host
    assert isinstance(found, ThreadsHost)
    return found


def native_threads() -> int:
    """The threads of this process as the system counts them."""
    folder = Path("/proc/self/task")
    return len(os.listdir(folder)) if folder.exists() else threading.active_count()
