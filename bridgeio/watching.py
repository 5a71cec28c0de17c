"""The poller where the platform has none: each socket is a watch of the host's own.

A host's watch is level-triggered, so it is set when a task waits and taken back when it fires.
"""

from __future__ import annotations

from functools import partial

from bridgeio.poller import READ, WRITE, Poller, Source, Watcher
from bridgeio.timers import Handle

__all__ = ["WatchingPoller"]


class WatchingPoller(Poller):
    """Keeps the interface of `Poller` over any number of host watches."""

    arms_each_wait = True

    def __init__(self, host: Watcher) -> None:
        super().__init__(lambda callback: None)
        self._host = host
        self._reading: dict[int, Handle] = {}
        self._writing: dict[int, Handle] = {}

    def watched_by(self, host: Watcher) -> Handle:
        return _Nothing()

    def arm(self, source: Source, task: object, events: int) -> None:
        if events & READ:
            self._start(source)

    def close(self) -> None:
        for handle in [*self._reading.values(), *self._writing.values()]:
            handle.cancel()
        self._reading.clear()
        self._writing.clear()

    def fileno(self) -> int:
        return -1

    def _add(self, source: Source, write: bool) -> None:
        if source.level_triggered:
            self._start(source)

    def _change(self, source: Source, write: bool) -> None:
        armed = self._writing.pop(source.fd, None)
        if armed is not None:
            armed.cancel()
        if write:
            self._writing[source.fd] = self._host.watch(source.fd, _ignore, partial(self._ready, source, WRITE))

    def _remove(self, source: Source) -> None:
        self._stop(source)
        self._change(source, False)

    def _ready(self, source: Source, events: int) -> None:
        if events == READ and not source.level_triggered:
            self._stop(source)
        if source.registered:
            source.on_event(events)

    def _start(self, source: Source) -> None:
        if source.fd not in self._reading:
            self._reading[source.fd] = self._host.watch(source.fd, partial(self._ready, source, READ))

    def _stop(self, source: Source) -> None:
        armed = self._reading.pop(source.fd, None)
        if armed is not None:
            armed.cancel()


class _Nothing:
    def cancel(self) -> None:
        """There is no watch for all to end."""


def _ignore() -> None:
    """Readability, where only writability was asked for."""
