"""The lookout: one thread of the run waits for all that the run waits for, descriptors and deadlines.

Rule 1: the last one out keeps it. Who parks with nobody left to hand the baton to waits for everything, without the
baton; those whose wait that ends are queued, and hand the baton on to each other. So a task on its own needs no other
thread, and of many each is woken once, with the baton: threads that all polled by themselves would meet for each
message at the interpreter's lock, and then at the baton.
Rule 2: nobody keeps it while somebody has the baton and others are queued. So that they cannot keep descriptors and
deadlines waiting, a look is taken after so many turns.
Rule 3: whoever frees the baton without parking calls somebody to it (rule 5 of the baton): a task that is parked, or
the attendant.
Rule 4: what the keeper has to know (a new watch, an earlier deadline, that its own wait is over) it is told by the
bell. So are signals: Python writes to it when one comes, and the thread that runs the handlers is roused.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Collection
from math import ceil, inf
from typing import TYPE_CHECKING

from bridgeio.unpatched import original
from bridgeio_threads.parking import AWAKE, ON_LOOKOUT, Parking

if TYPE_CHECKING:
    from bridgeio_threads.host import ThreadsHost

__all__ = ["Lookout", "Watch"]

TURNS = 64  # that are taken one after the other before somebody looks

_LONGEST = 1 << 30  # milliseconds; poll takes an int, and who comes back early looks again


class Bell:
    """A descriptor that can be made readable, by threads and by the interpreter's signals: a pipe."""

    def __init__(self) -> None:
        self.reader = -1  # what is to be closed if there is no descriptor left
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)

    def ring(self) -> None:
        try:
            os.write(self.writer, b"\0")
        except BlockingIOError:
            return  # it has rung often enough

    def silence(self) -> bool:
        """Whether a signal was among those that rang: their numbers are no null."""
        try:
            return any(os.read(self.reader, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        reader, self.reader = self.reader, -1
        if reader >= 0:
            os.close(reader)
            os.close(self.writer)

    def __del__(self) -> None:
        self.close()


class Lookout:
    """All its methods are called with the baton held.

    :ivar keeper: who is there now.
    :ivar listener: who is to be roused by signals.
    :raises OSError: when there are no descriptors left for the bell.
    """

    def __init__(self, host: ThreadsHost) -> None:
        self.keeper: Parking | None = None
        self.listener: Parking | None = None
        self._host = host
        self._turns = TURNS
        self._until = inf
        self.renew()

    def renew(self, left: Collection[Parking] = ()) -> None:
        """After a fork: descriptors and threads are the parent's.

        :param left: whose threads have come along.
        """
        self.keeper = None
        self.bell = Bell()
        self._watches: dict[int, list[Watch]] = {}
        self._poll = original("select", "poll")()
        self._poll.register(self.bell.reader, select.POLLIN)
        if self.listener is not None:
            signal.set_wakeup_fd(self.bell.writer, warn_on_full_buffer=False)
            self.listener = self.listener if self.listener in left else None

    def close(self) -> None:
        self.bell.close()

    @property
    def watched(self) -> int:
        """How many descriptors."""
        return len(self._watches)

    def recall(self) -> None:
        self.bell.ring()

    def expect(self, when: float) -> None:
        """There is a new earliest deadline."""
        if self.keeper is not None and when < self._until:
            self.bell.ring()

    def add(self, watch: Watch) -> None:
        self._watches.setdefault(watch.fd, []).append(watch)
        self._aim(watch.fd)

    def remove(self, watch: Watch) -> None:
        watches = self._watches.get(watch.fd, [])
        if watch in watches:
            watches.remove(watch)
            self._aim(watch.fd)

    def keep(self, parking: Parking) -> None:
        """Frees the baton, waits for all, takes the baton again, and makes the calls that are due.
        An exception is raised with the baton held."""
        host = self._host
        due = host.due
        baton = host.baton
        self.keeper = parking
        self._until = inf if due is None else due
        self._turns = TURNS
        parking.asleep = ON_LOOKOUT
        try:
            baton.mutex.release()  # in the block, for a signal handler may raise as soon as it has returned
            if baton.queue:
                baton.look_again()
            ready = self._poll.poll(None if due is None else _milliseconds(due - host.now()))
        finally:
            try:
                if not baton.mutex.acquire(False):
                    baton.take(parking.gate)
            finally:
                parking.asleep = AWAKE
                self.keeper = None
        self._deliver(ready)

    def look(self) -> None:
        """Makes the calls that are due, without waiting for any."""
        self._turns = TURNS
        self._deliver(self._poll.poll(0))

    def look_in_between(self) -> None:
        """Somebody else is about to take a turn; see rule 2."""
        if self.keeper is None:
            self._turns -= 1
            if self._turns <= 0:
                self.look()

    def _deliver(self, ready: list[tuple[int, int]]) -> None:
        host = self._host
        for fd, events in ready:
            if fd == self.bell.reader:
                self._answer_bell()
                continue
            for watch in tuple(self._watches.get(fd, ())):
                if events & ~select.POLLOUT and watch.on_readable is not None and not watch.cancelled:
                    host.call_here(watch.on_readable)
                if events & ~select.POLLIN and watch.on_writable is not None and not watch.cancelled:
                    host.call_here(watch.on_writable)
        host.run_due()

    def _answer_bell(self) -> None:
        if self.bell.silence() and self.listener is not None:
            self.listener.rouse()

    def _aim(self, fd: int) -> None:
        """``poll`` has no memory in the kernel, so a number that was reused meanwhile does no harm."""
        watches = self._watches[fd]
        if watches:
            events = 0
            for watch in watches:
                events |= watch.events
            self._poll.register(fd, events)
        else:
            del self._watches[fd]
            self._poll.unregister(fd)
        if self.keeper is not None:
            self.bell.ring()


class Watch:
    """A descriptor that is polled, and its callbacks."""

    def __init__(
        self,
        lookout: Lookout,
        fd: int,
        on_readable: Callable[[], object] | None,
        on_writable: Callable[[], object] | None,
    ) -> None:
        self.fd = fd
        self.events = (0 if on_readable is None else select.POLLIN) | (0 if on_writable is None else select.POLLOUT)
        self.on_readable = on_readable
        self.on_writable = on_writable
        self.cancelled = False
        self._lookout = lookout
        lookout.add(self)

    def cancel(self) -> None:
        self.cancelled = True
        self._lookout.remove(self)


def _milliseconds(seconds: float) -> int:
    """Rounded up: who comes back too early finds nothing due, and asks again and again."""
    return int(min(max(0.0, ceil(seconds * 1000)), _LONGEST)) if seconds != inf else -1
