"""The poller on macOS and the BSDs: ``kqueue`` with EV_CLEAR, which is edge-triggered too.

Written with care and tested against a fake; it has not run on the real thing.
"""

from __future__ import annotations

import contextlib
from typing import Any

from bridgeio.poller import PEER_DONE, READ, WRITE, Poller, PollerHost, Source
from bridgeio.unpatched import original

__all__ = ["KqueuePoller"]


class KqueuePoller(Poller):
    """Holds one kqueue descriptor, and two filters for each socket at most.

    A filter reports one direction, so a socket that is ready both ways comes as two events of one
    fetch. ``EV_EOF`` on the reading filter is the peer's end, on the writing one a reset: both set
    the sticky bit, and only ``recv`` tells which. Out-of-band data does not shorten a ``recv`` here
    without a new event, so there is no URGENT.
    """

    def __init__(self, host: PollerHost) -> None:
        super().__init__(host)
        self._queue_of_kernel = original("select", "kqueue")()
        self._kevent = original("select", "kevent")
        names = ("KQ_FILTER_READ", "KQ_FILTER_WRITE", "KQ_EV_ADD", "KQ_EV_CLEAR", "KQ_EV_DELETE", "KQ_EV_EOF")
        self._read, self._write, self._new, self._edge, self._gone, self._eof = (
            original("select", name) for name in names
        )

    def close(self) -> None:
        self._queue_of_kernel.close()

    def fileno(self) -> int:
        return int(self._queue_of_kernel.fileno())

    def _add(self, source: Source, write: bool) -> None:
        flags = self._new if source.level_triggered else self._new | self._edge
        self._control(self._kevent(source.fd, self._read, flags))
        if write:
            self._change(source, True)

    def _change(self, source: Source, write: bool) -> None:
        flags = self._new | self._edge if write else self._gone
        with contextlib.suppress(FileNotFoundError):
            self._control(self._kevent(source.fd, self._write, flags))

    def _remove(self, source: Source) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._control(self._kevent(source.fd, self._read, self._gone))
        self._change(source, False)

    def _fetch(self, most: int) -> list[tuple[int, int]]:
        return [(event.ident, self._bits(event)) for event in self._queue_of_kernel.control(None, most, 0)]

    def _bits(self, event: Any) -> int:
        bits = READ if event.filter == self._read else WRITE
        return bits | PEER_DONE if event.flags & self._eof else bits

    def _control(self, change: Any) -> None:
        self._queue_of_kernel.control([change], 0, 0)
