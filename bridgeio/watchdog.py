"""Finding the task that does not give way, while it does not.

Rule 1: the run pays nothing but one call in each quarter of the limit. A thread asks the host for that
call; as long as somebody keeps the host to himself, it is not made.
Rule 2: nobody is accused for others: only who was found running at each look, for the whole limit, is
reported. Many tasks that each run for a little while are a busy program, and no offence. Looks are counted, not
time: a process that was stopped, or a machine that stood still, makes one look late, and nobody guilty.
"""

from __future__ import annotations

import _thread
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from bridgeio.contract import Host, Task, TaskInfo
from bridgeio.dumps import stack_of
from bridgeio.stacks import format_frames, frames_up_to
from bridgeio.unpatched import get_ident, original

__all__ = ["watched"]

logger = logging.getLogger("bridgeio.watchdog")

_LOOKS = 4  # for each limit
_JOIN = 5.0  # seconds for the thread to end; only a log handler that hangs could make it late


@contextmanager
def watched(host: Host, limit: float) -> Iterator[None]:
    """A block in which the host is watched. To be entered and left in the host's thread."""
    watchdog = _Watchdog(host, limit)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


class _Watchdog:
    """A thread that does not keep the process, and ends with the run."""

    def __init__(self, host: Host, limit: float) -> None:
        self._host = host
        self._limit = limit
        self._thread = get_ident()
        self._process = os.getpid()
        self._answered = False
        self._stopped = False
        self._bell = original("_thread", "allocate_lock")()
        self._ended = original("_thread", "allocate_lock")()

    def start(self) -> None:
        self._bell.acquire()
        self._ended.acquire()
        start_new_thread = original("_thread", "start_new_thread")
        if start_new_thread is _thread.start_new_thread:
            threading.Thread(target=self._run, name="bridgeio watchdog", daemon=True).start()
        else:  # a patched Thread is a greenlet of the loop that is to be watched
            start_new_thread(self._run, ())

    def stop(self) -> None:
        """Returns when the thread is at its end."""
        self._stopped = True
        self._ring()
        if os.getpid() == self._process:  # else this is a forked child, and the thread is the parent's
            self._ended.acquire(True, _JOIN)

    def _run(self) -> None:
        try:
            while not self._wait(lambda: self._stopped):
                self._answered = False
                with suppress(RuntimeError):  # the host has ended: the stop is on its way
                    self._host.call_soon_threadsafe(self._answer)
                self._look_until_answered()
        finally:
            self._ended.release()

    def _answer(self) -> None:
        self._answered = True
        self._ring()

    def _ring(self) -> None:
        with suppress(RuntimeError):  # it rings already
            self._bell.release()

    def _wait(self, done: Callable[[], bool]) -> bool:
        """Waits until it is done, at most until the next look; says whether it is."""
        deadline = monotonic() + self._limit / _LOOKS
        while not done() and self._bell.acquire(True, max(0.0, deadline - monotonic())):
            pass
        return done()

    def _is_quiet(self) -> bool:
        return self._answered or self._stopped

    def _look_until_answered(self) -> None:
        suspect: TaskInfo | None = None
        looks = 0
        while not self._wait(self._is_quiet):
            task = self._running()
            found = None if task is None else task.info()
            looks = looks + 1 if found == suspect else 1
            suspect = found
            if looks == _LOOKS + 1:  # the limit lies between the first and the last of them
                self._report(task)

    def _running(self) -> Task | None:
        return next((task for task in self._host.census() if task.running_in()), None)

    def _report(self, task: Task | None) -> None:
        who = "code outside of bridgeio's tasks" if task is None else f"task {task.name}"
        lines = self._thread_stack() if task is None else stack_of(task)
        stack = "\n  ".join(lines)
        logger.warning(
            "%s (%s) has not given way for more than %g s:\n  %s", who, self._host.backend, self._limit, stack
        )

    def _thread_stack(self) -> list[str]:
        frame: Any = sys._current_frames().get(self._thread)
        return [] if frame is None else format_frames(frames_up_to(frame, None))
