"""A host without a loop: its clock stands still until a test moves it, and nothing runs by itself."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from select import POLLIN, POLLOUT, poll
from typing import Any

from bridgeio.cancellation import Scope
from bridgeio.contract import Host, Task
from bridgeio.poller import Poller
from bridgeio.sockets import SocketSource

__all__ = ["FakeHandle", "FakeHost", "FakeTask", "connected", "source_and_peer"]


class Cancelled(BaseException):
    """What means "cancelled" here."""


class FakeHandle:
    """Something asked of the host, with what it is to call."""

    def __init__(self, host: FakeHost, *details: Any) -> None:
        self.host = host
        self.details = details
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
        self.host.log.append(("cancelled", self.details[0]))


class FakeHost(Host):
    """Writes down what it is asked for.

    :ivar time: its clock.
    :ivar soon: callbacks from `call_soon_threadsafe`, for the test to call.
    :ivar watches: every watch that was asked for.
    :ivar timers_set: every ``call_at``.
    :ivar log: in which order things ended.
    """

    backend = "fake"
    cancelled_class = Cancelled

    def __init__(self, new_poller: Callable[[FakeHost], Poller] | None = None) -> None:
        self.time = 0.0
        self.soon: list[Callable[[], None]] = []
        self.watches: list[FakeHandle] = []
        self.timers_set: list[FakeHandle] = []
        self.log: list[tuple[str, object]] = []
        super().__init__()
        if new_poller is not None:
            self._poller = new_poller(self)
            self._watched = self._poller.watched_by(self)

    def now(self) -> float:
        return self.time

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeHandle:
        self.timers_set.append(FakeHandle(self, when, callback))
        return self.timers_set[-1]

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object:
        self.soon.append(callback)
        return None

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> FakeHandle:
        self.watches.append(FakeHandle(self, fd, on_readable, on_writable))
        return self.watches[-1]

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> Task:
        raise NotImplementedError("nothing runs here")

    def pass_time(self, until: float) -> None:
        """Moves the clock, and fires the host's timers that are due."""
        self.time = until
        for handle in list(self.timers_set):
            when, callback = handle.details
            if when <= until and not handle.cancelled:
                self.timers_set.remove(handle)
                callback()

    def turn(self) -> None:
        """One turn of a loop: calls back once for every watched descriptor that is ready now."""
        waiting = poll()
        live = [handle for handle in self.watches if not handle.cancelled and handle.details[0] >= 0]
        for fd in {handle.details[0] for handle in live}:
            waiting.register(fd, POLLIN | POLLOUT)
        ready = dict(waiting.poll(0))
        for handle in live:
            fd, on_readable, on_writable = handle.details
            for bits, callback in ((~POLLOUT, on_readable), (~POLLIN, on_writable)):
                if callback is not None and not handle.cancelled and ready.get(fd, 0) & bits:
                    callback()


class FakeTask(Task):
    """Counts how often it is woken, and can be parked without waiting."""

    __slots__ = ("interrupted", "woken")

    def __init__(self, host: Host | None = None, scope: Scope | None = None) -> None:
        super().__init__(host, "fake", scope if scope is not None else Scope())
        self.scope.task = self
        self.woken = 0
        self.interrupted = 0

    @property
    def thread(self) -> int:
        return 0

    def park(self, abort: Callable[[], bool]) -> Any:
        self.abort = abort

    def wake(self) -> None:
        self.woken += 1
        self.abort = None

    def interrupt(self) -> bool:
        self.interrupted += 1
        return True


def connected(family: str = "ipv4") -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection, non-blocking."""
    if family == "unix":
        ends = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            first = socket.create_connection(listener.getsockname())
            ends = first, listener.accept()[0]
    for end in ends:
        end.setblocking(False)
    return ends


@contextmanager
def source_and_peer(host: Host, family: str = "ipv4") -> Iterator[tuple[SocketSource, socket.socket]]:
    """A source on a host, and the raw socket at its other end."""
    ours, theirs = connected(family)
    source = SocketSource(host, ours, "the peer")
    try:
        yield source, theirs
    finally:
        source.close()
        theirs.close()
