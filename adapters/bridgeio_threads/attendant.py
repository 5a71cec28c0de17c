"""A thread for what no task waits for: deadlines, bytes left over, watches. Started when first needed.

A run with a single task has none: that task polls for all of it beside its own wait.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from bridgeio_threads.parking import IDLE, WRITE, Arm, Parking

if TYPE_CHECKING:
    from bridgeio_threads.host import ThreadsHost

__all__ = ["Attendant", "Watch"]


class Attendant:
    """All its methods are called with the baton held.

    :ivar running: whether there is such a thread now.
    """

    def __init__(self, host: ThreadsHost) -> None:
        self.running = False
        self.watches: set[Watch] = set()
        self._host = host
        self._parking = Parking(host.baton)
        self._until = inf
        self._idle_since = inf

    def attend(self) -> bool:
        """Has it look again what there is to wait for; ``False`` if no thread can be had."""
        if self.running:
            self._parking.rouse()
            return True
        try:
            self._parking.open()
            self._host.workers.start_thread(self._run, self._parking.gate)
        except (RuntimeError, OSError):
            self._parking.close()
            return False
        self.running = True
        self._idle_since = inf
        return True

    def expect(self, when: float) -> None:
        """There is a new earliest deadline."""
        if when < self._until:
            self._parking.rouse()

    def look_again(self) -> None:
        """It may not be needed any more."""
        if self.running:
            self._parking.rouse()

    def forget(self) -> None:
        """After a fork: the thread is the parent's."""
        self.running = False
        self._parking = Parking(self._host.baton)

    def _run(self) -> None:
        host = self._host
        while not host.closing and (timeout := self._patience()) > 0:
            arms: list[Arm] = [(source, WRITE) for source in self._sources()]
            arms += [(watch, watch.events) for watch in self.watches]
            self._until = inf if host.due is None else host.due
            ready = self._parking.poll(arms, min(timeout, self._until - host.now()))
            self._until = -inf
            host.call_here(partial(_deliver, arms, ready))
            host.run_due()
        self.running = False
        self._parking.close()
        host.sockets.left_by(self)
        host.unserved = True
        for task in host.tasks:  # the only one, if any: it serves itself now
            task.parking.rouse()

    def _sources(self) -> list[object]:
        sockets = self._host.sockets
        sockets.given_to(self)
        return [source for source, polled_by in sockets.wanted.items() if polled_by is self]

    def _patience(self) -> float:
        """How long it may sleep: without end while it is needed, else until it has been idle for long."""
        host = self._host
        if len(host.tasks) > 1 or self.watches or host.sockets.wanted:
            self._idle_since = inf
            return inf
        self._idle_since = min(self._idle_since, host.now())
        return self._idle_since + IDLE - host.now()


class Watch:
    """A descriptor that the attendant polls, and its callbacks."""

    registered = True

    def __init__(
        self,
        attendant: Attendant,
        fd: int,
        on_readable: Callable[[], object] | None,
        on_writable: Callable[[], object] | None,
    ) -> None:
        self.fd = fd
        self.events = (0 if on_readable is None else select.POLLIN) | (0 if on_writable is None else WRITE)
        self._on_readable = on_readable
        self._on_writable = on_writable
        self._attendant = attendant
        attendant.watches.add(self)

    def on_event(self, events: int) -> None:
        if self._on_readable is not None and events & ~WRITE:
            self._on_readable()
        if self._on_writable is not None and self.registered and events & ~select.POLLIN:
            self._on_writable()

    def cancel(self) -> None:
        self.registered = False
        self._attendant.watches.discard(self)
        self._attendant.look_again()


def _deliver(arms: list[Arm], ready: list[tuple[int, int]]) -> None:
    events_of = dict(ready)
    for source, _ in arms:
        events = events_of.get(source.fd)
        if events is not None and source.registered:
            source.on_event(events)
