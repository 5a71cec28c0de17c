"""Which poller this platform has: the choice, in one place. Only the best is imported with bridgeio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bridgeio.epoll import EpollPoller
from bridgeio.poller import Poller, Watcher
from bridgeio.unpatched import original

__all__ = ["new_poller"]


class PollerHost(Watcher, Protocol):
    """What a new poller needs of its host."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object: ...


def new_poller(host: PollerHost) -> Poller:
    """The best poller of this platform; where it has none, one watch of the host's for each socket."""
    if _selects("epoll"):
        return EpollPoller(host.call_soon_threadsafe)
    if _selects("kqueue"):
        from bridgeio.kqueue import KqueuePoller

        return KqueuePoller(host.call_soon_threadsafe)
    from bridgeio.watching import WatchingPoller

    return WatchingPoller(host)


def _selects(name: str) -> bool:
    try:
        original("select", name)
    except AttributeError:
        return False
    return True
