"""Which poller this platform has: the choice, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bridgeio.epoll import EpollPoller
from bridgeio.kqueue import KqueuePoller
from bridgeio.poller import Poller, Watcher
from bridgeio.unpatched import original
from bridgeio.watching import WatchingPoller

__all__ = ["new_poller"]

BEST_FIRST: tuple[tuple[type[EpollPoller] | type[KqueuePoller], str], ...] = (
    (EpollPoller, "epoll"),
    (KqueuePoller, "kqueue"),
)


class PollerHost(Watcher, Protocol):
    """What a new poller needs of its host."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object: ...


def new_poller(host: PollerHost) -> Poller:
    """The best poller of this platform; where it has none, one watch of the host's for each socket."""
    for kind, name in BEST_FIRST:
        try:
            original("select", name)
        except AttributeError:
            continue
        return kind(host.call_soon_threadsafe)
    return WatchingPoller(host)
