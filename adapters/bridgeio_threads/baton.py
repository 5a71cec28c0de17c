"""The baton: who holds it runs, everybody else in the run waits.

Rule 1: it is handed over first come, first served. A plain lock would do for exclusion, but whoever
has just released it takes it again before anybody else has woken up.
Rule 2: handing over is skipped when nobody waits: then it costs two operations on a lock.
Rule 3: calls that may come at any moment (from other threads, from signal handlers, from the
collector) stand in the same queue and are made by whoever drops the baton next.
Rule 4: who has queued looks again whether the baton has become free, and who has freed it looks
again whether somebody has queued: one of the two sees the other.
Rule 5: before it becomes free, with nobody in the queue, somebody is asked for who keeps the lookout
(see `bridgeio_threads.lookout`): a thread that frees it and goes elsewhere leaves nobody behind.
"""

from __future__ import annotations

from _thread import LockType
from collections import deque
from collections.abc import Callable

from bridgeio.unpatched import original
from bridgeio_threads.gate import Gate

__all__ = ["Baton"]

_allocate_lock: Callable[[], LockType] = original("_thread", "allocate_lock")


def _nobody() -> None:
    """Nobody keeps the lookout here."""


class Baton:
    """A mutex with a queue.

    :param report: is told the exception of a call out of the queue.
    :param becomes_free: see rule 5; may queue somebody.
    :ivar mutex: whoever has it holds the baton.
    """

    __slots__ = ("_becomes_free", "_report", "mutex", "queue")

    def __init__(self, report: Callable[[BaseException], None], becomes_free: Callable[[], None] = _nobody) -> None:
        self.queue: deque[Gate | Callable[[], object]] = deque()
        self.mutex = _allocate_lock()
        self._report = report
        self._becomes_free = becomes_free

    def take(self, gate: Gate) -> None:
        """Waits for it at the end of the queue. An exception is raised with the baton held."""
        if self.mutex.acquire(False):
            return
        self.queue.append(gate)
        self.look_again()
        gate.wait()

    def drop(self) -> None:
        """Hands it on, or frees it."""
        while not self.hand_on():
            self._becomes_free()
            if not self.queue:
                self.free()
                return

    def hand_on(self) -> bool:
        """Gives it to the first thread in the queue, after making the calls that stand before; if there is one."""
        queue = self.queue
        while queue:
            first = queue.popleft()
            if isinstance(first, Gate):
                first.open()
                return True
            self._call(first)
        return False

    def free(self) -> None:
        """For who comes back, or keeps the lookout, or knows who does."""
        self.mutex.release()
        if self.queue:
            self.look_again()

    def look_again(self) -> None:
        """Somebody has queued while it was being freed; see rule 4."""
        if self.mutex.acquire(False):
            self.drop()

    def give_way(self, gate: Gate) -> None:
        """Everybody who is in the queue now has a turn first."""
        self.queue.append(gate)
        self.hand_on()
        gate.wait()

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Makes the call while nobody else holds the baton. From anywhere, signal handlers too."""
        self.queue.append(callback)
        self.look_again()

    def forget_others(self, *, held: bool) -> None:
        """After a fork the threads that queued are in the parent, and so may be the one that holds it.

        :param held: whether the calling thread does.
        """
        self.queue.clear()
        self.mutex = _allocate_lock()
        if held:
            self.mutex.acquire()

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except BaseException as error:
            self._report(error)
