"""The private poller: one descriptor for the host to watch, all of our sockets behind it.

Rule 1: a socket is registered once, edge-triggered. What it was ready for is remembered in its
source; nothing is asked of the kernel twice. (Listeners are level-triggered: an accept that failed
for want of descriptors must come again.)
Rule 2: events taken from the kernel are ours: the poller holds what is left of a batch, and whatever
a callback does (raise, dispatch again, close others), the rest is called for again.
Rule 3: a source that was unregistered gets no event any more, even one taken before; the number of
its descriptor may be in use again by then. So unregister first, close after.
Rule 4: after a fork the child owns none of this: it closes its copy of the poller's descriptor and
never changes it, because the registrations behind it are the parent's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from operator import length_hint
from typing import Any, Protocol

from bridgeio.corks import Corked
from bridgeio.limits import EVENTS_PER_DISPATCH
from bridgeio.timers import Handle

__all__ = [
    "ERROR",
    "FINAL",
    "HANGUP",
    "PEER_DONE",
    "READ",
    "URGENT",
    "WRITE",
    "Poller",
    "PollerHost",
    "Source",
]

# The bits of an event. They have epoll's values, so that Linux need not translate them.
READ = 0x001
URGENT = 0x002
WRITE = 0x004
ERROR = 0x008
HANGUP = 0x010
PEER_DONE = 0x2000
FINAL = ERROR | HANGUP | PEER_DONE


class Source(Protocol):
    """What can be registered."""

    fd: int
    level_triggered: bool
    registered: bool

    def on_event(self, events: int) -> None: ...
    def end(self) -> None: ...
    def abandon(self) -> None: ...


class PollerHost(Protocol):
    """What a poller needs of its host."""

    corked: Corked

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object: ...

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle: ...


class Poller:
    """Readiness for many descriptors behind one. Platforms differ in the four methods at the end.

    :cvar arms_each_wait: whether a source has to call `arm` before each wait.
    """

    arms_each_wait = False

    def __init__(self, host: PollerHost) -> None:
        self.sources: dict[int, Source] = {}
        self.dispatches = 0
        self.events = 0
        self._batch: Iterator[tuple[int, int]] = iter(())
        self._left: set[int] = set()
        self._call_soon = host.call_soon_threadsafe
        self._corked = host.corked
        _watch_for_forks(self)

    def register(self, source: Source, *, write: bool = False) -> None:
        self._add(source, write)
        source.registered = True
        self.sources[source.fd] = source

    def want_write(self, source: Source, wanted: bool) -> None:
        """Asks for writability of a source that was registered without it."""
        self._change(source, wanted)

    def arm(self, source: Source, task: Any, events: int) -> None:
        """The task is about to park until the source is ready; only called if ``arms_each_wait``."""

    def unregister(self, source: Source) -> None:
        if source.registered:
            source.registered = False
            if self.sources.get(source.fd) is source:
                del self.sources[source.fd]
                self._left.add(source.fd)
                self._remove(source)

    def dispatch(self) -> None:
        """Takes a bounded number of events, without waiting, and hands each to its source."""
        batch = self._batch
        if not length_hint(batch):
            self._batch = batch = self._take()
        sources, left, corked = self.sources, self._left, self._corked
        corked.dispatching = True
        try:
            for fd, events in batch:
                source = sources.get(fd)
                if source is not None and fd not in left:
                    source.on_event(events)
        finally:
            corked.dispatching = False
            if corked.writers:
                corked.uncork_all()
            if length_hint(batch):
                self._call_soon(self.dispatch)

    def _take(self) -> Iterator[tuple[int, int]]:
        """A new batch. Who leaves from now on gets nothing of it, nor does who takes his number."""
        self._left.clear()
        taken = self._fetch(EVENTS_PER_DISPATCH)
        self.dispatches += 1
        self.events += len(taken)
        return iter(taken)

    def end(self) -> None:
        """Closes what nobody has closed, and then itself: a run leaves no descriptor behind."""
        for source in list(self.sources.values()):
            self.unregister(source)
            source.end()
        self.close()

    def abandon(self) -> None:
        """Lets go of all sources and closes, without a change to what a forking parent still uses."""
        for source in self.sources.values():
            source.abandon()
        self.sources.clear()
        self._corked.forget()
        self._batch = iter(())
        self.close()

    def watched_by(self, host: PollerHost) -> Handle:
        """Asks the host to watch the one descriptor."""
        return host.watch(self.fileno(), self.dispatch)

    def close(self) -> None:
        raise NotImplementedError

    def fileno(self) -> int:
        raise NotImplementedError

    def _add(self, source: Source, write: bool) -> None:
        raise NotImplementedError

    def _change(self, source: Source, write: bool) -> None:
        raise NotImplementedError

    def _remove(self, source: Source) -> None:
        raise NotImplementedError

    def _fetch(self, most: int) -> list[tuple[int, int]]:
        raise NotImplementedError


_alive: weakref.WeakSet[Poller] = weakref.WeakSet()
_hooked: list[bool] = []


def _watch_for_forks(poller: Poller) -> None:
    if not _hooked:
        _hooked.append(True)
        os.register_at_fork(after_in_child=_abandon_all)
    _alive.add(poller)


def _abandon_all() -> None:
    for poller in list(_alive):
        poller.abandon()
