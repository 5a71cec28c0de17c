"""The baton: who holds it runs, everybody else in the run waits.

Rule 1: it is handed over first come, first served. A plain lock would do for exclusion, but whoever
has just released it takes it again before anybody else has woken up.
Rule 2: handing over is skipped when nobody waits: then it costs two operations on a lock.
Rule 3: calls that may come at any moment (from other threads, from signal handlers, from the
collector) stand in the same queue and are made by whoever drops the baton next.
Rule 4: who has queued looks again whether the baton has become free, and who has freed it looks
again whether somebody has queued: one of the two sees the other.
"""

from __future__ import annotations

from _thread import LockType
from collections import deque
from collections.abc import Callable

from bridgeio.unpatched import original

__all__ = ["Baton", "Gate"]

_allocate_lock: Callable[[], LockType] = original("_thread", "allocate_lock")


class Gate:
    """Where one thread waits for the baton.

    :ivar granted: the baton has been handed to this thread. A lock alone could not tell: an
        exception of a signal handler may come just when it has been acquired.
    """

    __slots__ = ("granted", "lock")

    def __init__(self) -> None:
        self.granted = False
        self.lock = _allocate_lock()
        self.lock.acquire()

    def open(self) -> None:
        self.granted = True
        self.lock.release()

    def wait(self, interrupted: Callable[[], object] | None = None) -> None:
        """Until the baton is handed over. What a signal handler raises meanwhile is raised after.

        :param interrupted: called when that happens, without the baton.
        """
        try:
            self.lock.acquire()
        except BaseException:
            self._wait_on(interrupted)
            raise
        finally:
            self.granted = False

    def wait_for(self, seconds: float) -> bool:
        """Waits that long at most; whether the baton was handed over."""
        if self.lock.acquire(True, seconds):
            self.granted = False
            return True
        return False

    def _wait_on(self, interrupted: Callable[[], object] | None) -> None:
        if interrupted is not None and not self.granted:
            interrupted()
        while not self.granted:
            try:
                self.lock.acquire()
            except BaseException:
                continue  # one is on its way already
        self.lock.acquire(False)


class Baton:
    """A mutex with a queue.

    :param report: is told the exception of a call out of the queue.
    :ivar mutex: whoever has it holds the baton.
    """

    __slots__ = ("_report", "mutex", "queue")

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self.queue: deque[Gate | Callable[[], object]] = deque()
        self.mutex = _allocate_lock()
        self._report = report

    def take(self, gate: Gate) -> None:
        """Waits for it at the end of the queue. An exception is raised with the baton held."""
        if self.mutex.acquire(False):
            return
        self.queue.append(gate)
        self.look_again()
        gate.wait()

    def drop(self) -> None:
        """Hands it to the first in the queue, after making the calls that stand before."""
        queue = self.queue
        mutex = self.mutex
        while True:
            while queue:
                first = queue.popleft()
                if isinstance(first, Gate):
                    first.open()
                    return
                self._call(first)
            mutex.release()
            if not queue or not mutex.acquire(False):
                return

    def look_again(self) -> None:
        """Somebody has queued while it was being freed; see rule 4."""
        if self.mutex.acquire(False):
            self.drop()

    def give_way(self, gate: Gate) -> None:
        """Everybody who is in the queue now has a turn first."""
        self.queue.append(gate)
        self.drop()
        gate.wait()

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Makes the call while nobody else holds the baton. From anywhere, signal handlers too."""
        self.queue.append(callback)
        self.look_again()

    def forget_others(self) -> None:
        """After a fork the threads that queued are in the parent."""
        self.queue.clear()

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:
            self._report(error)
