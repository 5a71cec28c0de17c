"""The poller on Linux: edge-triggered ``epoll``. The one file that may assume Linux."""

from __future__ import annotations

import select

from bridgeio.poller import PEER_DONE, READ, URGENT, WRITE, Poller, PollerHost, Source
from bridgeio.unpatched import original

__all__ = ["EpollPoller"]

_EDGE = 1 << 31  # EPOLLET


class EpollPoller(Poller):
    """Holds one epoll descriptor.

    Level-triggered sources are listeners: when several processes accept on one socket, EPOLLEXCLUSIVE
    wakes one of them and not the herd. The kernel refuses to modify such a registration, and nobody
    here wants to.
    """

    def __init__(self, host: PollerHost) -> None:
        super().__init__(host)
        self._epoll = original("select", "epoll")()
        self._poll = self._epoll.poll

    def close(self) -> None:
        self._epoll.close()

    def fileno(self) -> int:
        return int(self._epoll.fileno())

    def _add(self, source: Source, write: bool) -> None:
        if source.level_triggered:
            self._epoll.register(source.fd, READ | getattr(select, "EPOLLEXCLUSIVE", 1 << 28))
        else:
            self._epoll.register(source.fd, _edges(write))

    def _change(self, source: Source, write: bool) -> None:
        self._epoll.modify(source.fd, _edges(write))

    def _remove(self, source: Source) -> None:
        self._epoll.unregister(source.fd)

    def _fetch(self, most: int) -> list[tuple[int, int]]:
        poll = self._poll
        events: list[tuple[int, int]] = poll(0, most)
        return events


def _edges(write: bool) -> int:
    return READ | URGENT | PEER_DONE | _EDGE | (WRITE if write else 0)
