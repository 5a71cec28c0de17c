"""What one thread needs in order to wait: a gate, a bell, and the descriptors it polls.

The bell is a descriptor that another thread makes readable, so that a ``poll`` comes back. It is
asked to only while its owner is polling; in a wait without descriptors the owner is put into the
baton's queue directly, and wakes up holding the baton.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil, inf
from typing import Any

from bridgeio.unpatched import original
from bridgeio_threads.baton import Baton, Gate

__all__ = ["IDLE", "WRITE", "Arm", "Bell", "Parking"]

WRITE = select.POLLOUT
IDLE = 1.0  # seconds after which a thread that has nothing to do ends

Arm = tuple[Any, int]
"""A source, and the events of it that are waited for."""

_AWAKE, _AT_GATE, _POLLING = range(3)  # the first is false
_LONGEST = 1 << 30  # milliseconds; poll takes an int, and who comes back early looks again


class Bell:
    """A descriptor that can be made readable: an eventfd, or a pipe.

    :ivar writer: the descriptor to ring with.
    """

    __slots__ = ("_pipe", "_reader", "writer")

    def __init__(self, *, pipe: bool = False) -> None:
        self._pipe = pipe or not hasattr(os, "eventfd")
        self._reader = self.writer = -1

    def open(self) -> int:
        """The descriptor to poll.

        :raises OSError: when there are no descriptors left.
        """
        if self._reader < 0:
            if self._pipe:
                self._reader, self.writer = os.pipe()
                os.set_blocking(self._reader, False)
                os.set_blocking(self.writer, False)
            else:
                self._reader = self.writer = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return self._reader

    def ring(self) -> None:
        try:
            os.write(self.writer, b"\1\0\0\0\0\0\0\0")
        except BlockingIOError:
            return  # it has rung often enough

    def silence(self) -> None:
        try:
            os.read(self._reader, 512)
        except BlockingIOError:
            return

    def close(self) -> None:
        reader, writer = self._reader, self.writer
        self._reader = self.writer = -1
        if reader >= 0:
            os.close(reader)
            if writer != reader:
                os.close(writer)

    def __del__(self) -> None:
        self.close()


class Parking:
    """The waiting of one thread. All methods are called with the baton held.

    :ivar asleep: whether the owner waits, and how.
    :ivar listens: signals ring the bell too, so the owner has to wait where it can hear it.
    """

    __slots__ = ("__weakref__", "_aimed", "_events", "_fd", "_poll", "asleep", "baton", "bell", "gate", "listens")

    def __init__(self, baton: Baton) -> None:
        self.baton = baton
        self.gate = Gate()
        self.bell = Bell()
        self.listens = False
        self.asleep = _AWAKE
        self._poll: Any = None
        self._aimed: dict[int, int] = {}
        self._fd = self._events = -1

    def open(self) -> None:
        """Makes the bell and the poll object; before the first wait, so that it cannot fail there.

        :raises OSError: when there are no descriptors left.
        """
        if self._poll is None:
            bell = self.bell.open()
            self._poll = original("select", "poll")()
            self._poll.register(bell, select.POLLIN)
            self._aimed.clear()
            self._fd = self._events = -1

    def close(self) -> None:
        self._poll = None
        self.bell.close()

    def listen(self) -> int:
        """The descriptor that the interpreter may write to when a signal comes: from now on one ends
        any wait, also a signal that comes between the last instruction and the wait itself."""
        self.close()
        self.bell = Bell(pipe=True)
        self.listens = True
        self.open()
        return self.bell.writer

    @contextmanager
    def listening(self) -> Iterator[int]:
        """The same for a block, which may be inside another one."""
        listens = self.listens
        try:
            yield self.bell.writer if listens else self.listen()
        finally:
            self.listens = listens

    def renew(self) -> None:
        """After a fork: the bell rings in the parent too."""
        if self._poll is not None:
            self.close()
            self.open()
            if self.listens:
                signal.set_wakeup_fd(self.bell.writer, warn_on_full_buffer=False)

    def rouse(self) -> None:
        """Has the owner come back from its wait, if it is in one."""
        state = self.asleep
        if not state:
            return
        self.asleep = _AWAKE
        if state == _AT_GATE:
            self.baton.queue.append(self.gate)
        else:
            self.bell.ring()

    def rest(self) -> None:
        """Drops the baton and waits until it is roused. An exception is raised with the baton held."""
        self.asleep = _AT_GATE
        self.baton.drop()
        self.gate.wait(self._interrupted)

    def rest_for(self, seconds: float) -> None:
        """The same for a thread without a task, which comes back by itself after that time."""
        self.asleep = _AT_GATE
        self.baton.drop()
        if not self.gate.wait_for(seconds):
            self.baton.call_soon(self.rouse)
            self.gate.wait()

    def poll(self, arms: Sequence[Arm], timeout: float | None) -> list[tuple[int, int]]:
        """Drops the baton and waits for one of the descriptors, or to be roused; takes it again.

        :param timeout: seconds at most.
        :returns: descriptors with their events. An exception is raised with the baton held.
        """
        if len(arms) != 1 or arms[0][0].fd != self._fd or arms[0][1] != self._events:
            self._aim(arms)
        wait = self._poll.poll
        baton = self.baton
        mutex, queue = baton.mutex, baton.queue
        self.asleep = _POLLING
        # As `Baton.drop` and `Baton.take`, whose calls would be a tenth of what a message costs here.
        if queue:
            baton.drop()
        else:
            mutex.release()
            if queue:
                baton.look_again()
        try:
            ready: list[tuple[int, int]] = wait(timeout if timeout is None else _milliseconds(timeout))
        finally:
            if not mutex.acquire(False):
                baton.take(self.gate)
            if not self.asleep or self.listens:
                self.bell.silence()
            self.asleep = _AWAKE
        return ready

    def _aim(self, arms: Sequence[Arm]) -> None:
        """``poll`` has no memory in the kernel, so a number that was reused meanwhile does no harm."""
        wanted: dict[int, int] = {}
        for source, events in arms:
            wanted[source.fd] = wanted.get(source.fd, 0) | events
        for fd in self._aimed.keys() - wanted.keys():
            self._poll.unregister(fd)
        for fd, events in wanted.items():
            self._poll.register(fd, events)
        self._aimed = wanted
        self._fd, self._events = next(iter(wanted.items())) if len(wanted) == len(arms) == 1 else (-1, -1)

    def _interrupted(self) -> None:
        """A signal handler raised while the owner was at its gate: it needs the baton to go on."""
        self.baton.call_soon(self.rouse)


def _milliseconds(seconds: float) -> int:
    """Rounded up: who comes back too early finds nothing due, and asks again and again."""
    return int(min(max(0.0, ceil(seconds * 1000)), _LONGEST)) if seconds != inf else -1
