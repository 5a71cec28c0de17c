"""Real threads for work that blocks: kept for a while when they have nothing to do, and used again.

There is one cache for the process. Its threads are started with the interpreter's own primitive, so they are
real ones also where gevent has replaced ``threading``, and they keep no program from ending.

Rule 1: a thread is idle again *before* it tells anybody that its work is done. So who hears of that finds it
idle, and at the end of a run nobody is overlooked.
"""

from __future__ import annotations

import errno
import os
import threading  # noqa: F401 # if it were loaded in such a thread, it would take that for the main one
from collections.abc import Callable
from typing import Any

from bridgeio.unpatched import forget_thread, original

__all__ = ["IDLE", "Tell", "ThreadCache", "Work", "cache"]

IDLE = 10.0  # seconds that a thread waits for more work

Tell = Callable[[], object]
Work = Callable[[], Tell]
"""What a thread does; it returns a call that tells of it. Neither may raise."""


class ThreadCache:
    """May be used by any thread, and in a forked child."""

    def __init__(self) -> None:
        self._start_anew()
        self._knows_of_forks = False

    @property
    def idle(self) -> int:
        """How many threads have nothing to do."""
        return len(self._idle)

    def start(self, work: Work) -> None:
        """Has the work done by an idle thread, or by a new one.

        :raises OSError: if the system gives no thread.
        """
        if not self._knows_of_forks:
            self._knows_of_forks = True
            os.register_at_fork(after_in_child=self._start_anew)
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        if idle is not None:
            idle.begin(work)
        else:
            _Thread(self, work).start()

    def end_idle(self) -> None:
        """Ends those that have nothing to do; the others are idle later, and end after a while."""
        with self._lock:
            idle = self._idle.copy()
            self._idle.clear()
        for thread in idle:
            thread.begin(None)

    def rest(self, thread: _Thread) -> None:
        with self._lock:
            self._idle.append(thread)

    def leave(self, thread: _Thread) -> bool:
        """Whether it may end: else somebody has just given it work, or told it to end."""
        with self._lock:
            if thread not in self._idle:
                return False
            self._idle.remove(thread)
            return True

    def _start_anew(self) -> None:
        """Threads do not survive a fork, and a lock may have been held by one."""
        self._lock: Any = original("_thread", "allocate_lock")()
        self._idle: list[_Thread] = []


class _Thread:
    """One thread of the cache."""

    def __init__(self, cache: ThreadCache, work: Work) -> None:
        self._cache = cache
        self._work: Work | None = work
        self._begun = original("_thread", "allocate_lock")()
        self._begun.acquire()

    def start(self) -> None:
        try:
            original("_thread", "start_new_thread")(self._run, ())
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "the system gives no thread for work that blocks") from error

    def begin(self, work: Work | None) -> None:
        self._work = work
        self._begun.release()

    def _run(self) -> None:
        try:
            while (work := self._work) is not None:
                self._work = None
                tell = work()
                del work
                self._cache.rest(self)
                tell()
                del tell  # it may keep alive what the work has made
                self._wait()
        finally:
            forget_thread()

    def _wait(self) -> None:
        """Until there is work, or none has come for long."""
        if not self._begun.acquire(True, IDLE) and not self._cache.leave(self):
            self._begun.acquire()  # on its way


cache = ThreadCache()
