"""The poller where the platform has none: each socket is a watch of the host's own.

A host's watch is level-triggered, so it is set when a task waits and taken back when it fires. The
two directions are two watches: one that stood for both would fire all the time for the other.
"""

from __future__ import annotations

from functools import partial

from bridgeio.poller import READ, WRITE, Poller, PollerHost, Source
from bridgeio.timers import Handle

__all__ = ["WatchingPoller"]


class WatchingPoller(Poller):
    """Keeps the interface of `Poller` over any number of host watches."""

    arms_each_wait = True

    def __init__(self, host: PollerHost) -> None:
        super().__init__(host)
        self._host = host
        self._armed: dict[tuple[int, int], Handle] = {}
        self._flushing: set[int] = set()

    def watched_by(self, host: PollerHost) -> Handle:
        return _Nothing()

    def arm(self, source: Source, task: object, events: int) -> None:
        for event in (READ, WRITE):
            if events & event:
                self._start(source, event)

    def close(self) -> None:
        for handle in self._armed.values():
            handle.cancel()
        self._armed.clear()
        self._flushing.clear()

    def fileno(self) -> int:
        return -1

    def _add(self, source: Source, write: bool) -> None:
        """A stream is watched when a task waits for it; only listeners are, from now on."""
        if source.level_triggered:
            self._start(source, READ)

    def _change(self, source: Source, write: bool) -> None:
        if write:
            self._flushing.add(source.fd)
            self._start(source, WRITE)
        else:
            self._flushing.discard(source.fd)
            self._stop(source, WRITE)

    def _remove(self, source: Source) -> None:
        self._stop(source, READ)
        self._change(source, False)

    def _ready(self, source: Source, event: int) -> None:
        stays = source.level_triggered if event == READ else source.fd in self._flushing
        if not stays:
            self._stop(source, event)
        if source.registered:
            source.on_event(event)

    def _start(self, source: Source, event: int) -> None:
        if (source.fd, event) not in self._armed:
            call = partial(self._ready, source, event)
            on_readable, on_writable = (call, None) if event == READ else (None, call)
            self._armed[source.fd, event] = self._host.watch(source.fd, on_readable, on_writable)

    def _stop(self, source: Source, event: int) -> None:
        handle = self._armed.pop((source.fd, event), None)
        if handle is not None:
            handle.cancel()


class _Nothing:
    def cancel(self) -> None:
        """There is no watch for all to end."""
