"""Which poller this platform has: the choice, in one place. Only the best is imported with bridgeio."""

from __future__ import annotations

from bridgeio.epoll import EpollPoller
from bridgeio.poller import Poller, PollerHost
from bridgeio.unpatched import original

__all__ = ["new_poller"]


def new_poller(host: PollerHost) -> Poller:
    """The best poller of this platform; where it has none, one watch of the host's for each socket."""
    if _selects("epoll"):
        return EpollPoller(host)
    if _selects("kqueue"):
        from bridgeio.kqueue import KqueuePoller

        return KqueuePoller(host)
    from bridgeio.watching import WatchingPoller

    return WatchingPoller(host)


def _selects(name: str) -> bool:
    try:
        original("select", name)
    except AttributeError:
        return False
    return True
