"""The poller of macOS and the BSDs, against a fake of the kernel's interface as kqueue(2) describes it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridgeio.kqueue import KqueuePoller
from bridgeio.poller import FINAL, READ, WRITE
from bridgeio.reader import Reader
from fake_host import FakeHost, FakeTask, source_and_peer

FILTER_READ, FILTER_WRITE = -1, -2
EV_ADD, EV_DELETE, EV_CLEAR, EV_EOF = 0x1, 0x2, 0x20, 0x8000


@dataclass
class Kevent:
    """``struct kevent``, the three fields in use."""

    ident: int
    filter: int
    flags: int = 0


@dataclass
class Kqueue:
    """Keeps filters as the kernel does, and hands out what a test says has happened."""

    filters: dict[tuple[int, int], int] = field(default_factory=dict)
    ready: list[Kevent] = field(default_factory=list)
    closed: bool = False

    def control(self, changes: list[Kevent] | None, most: int, timeout: float | None = None) -> list[Kevent]:
        for change in changes or ():
            self.change(change)
        taken, self.ready = self.ready[:most], self.ready[most:]
        return taken

    def change(self, change: Kevent) -> None:
        key = change.ident, change.filter
        if change.flags & EV_DELETE:
            if key not in self.filters:
                raise FileNotFoundError
            del self.filters[key]
        else:
            self.filters[key] = change.flags

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kqueue:
    """The kernel's side of the one kqueue."""
    kernel = Kqueue()
    names: dict[str, Any] = {
        "kqueue": lambda: kernel,
        "kevent": Kevent,
        "KQ_FILTER_READ": FILTER_READ,
        "KQ_FILTER_WRITE": FILTER_WRITE,
        "KQ_EV_ADD": EV_ADD,
        "KQ_EV_DELETE": EV_DELETE,
        "KQ_EV_CLEAR": EV_CLEAR,
        "KQ_EV_EOF": EV_EOF,
    }
    monkeypatch.setattr("bridgeio.kqueue.original", lambda module, name: names[name])
    return kernel


@pytest.fixture
def host(kernel: Kqueue) -> Any:
    """A host on such a platform."""
    host = FakeHost(KqueuePoller)
    yield host
    host.close()
    assert kernel.closed


def test_a_tcp_socket_is_two_edge_triggered_filters(host: FakeHost, kernel: Kqueue) -> None:
    """EV_CLEAR on both, registered once."""
    with source_and_peer(host) as (source, _):
        edge = EV_ADD | EV_CLEAR
        assert kernel.filters == {(source.fd, FILTER_READ): edge, (source.fd, FILTER_WRITE): edge}


def test_a_unix_socket_asks_for_writability_when_it_needs_it(host: FakeHost, kernel: Kqueue) -> None:
    """The writing filter comes with the first remainder and goes with the last."""
    with source_and_peer(host, "unix") as (source, _):
        assert list(kernel.filters) == [(source.fd, FILTER_READ)]
        source.call_when_writable(lambda: None)
        assert (source.fd, FILTER_WRITE) in kernel.filters
        source.call_when_writable(None)
        assert (source.fd, FILTER_WRITE) not in kernel.filters


def test_closing_deletes_every_filter(host: FakeHost, kernel: Kqueue) -> None:
    """Those that are there; one that the kernel does not know (any more) is no error."""
    with source_and_peer(host) as (source, _):
        del kernel.filters[source.fd, FILTER_WRITE]
        source.close()
        assert kernel.filters == {}


def test_an_event_of_each_direction_wakes_its_task(host: FakeHost, kernel: Kqueue) -> None:
    """Readiness both ways comes as two events of one fetch, each for its own task."""
    reader, writer = FakeTask(host), FakeTask(host)
    with source_and_peer(host) as (source, _):
        source.wait_readable(reader)
        source.wait_writable(writer)
        kernel.ready = [Kevent(source.fd, FILTER_READ)]
        host.poller().dispatch()
        assert (reader.woken, writer.woken) == (1, 0)
        kernel.ready = [Kevent(source.fd, FILTER_WRITE)]
        host.poller().dispatch()
        assert (reader.woken, writer.woken) == (1, 1)


@pytest.mark.parametrize("kind", [FILTER_READ, FILTER_WRITE])
def test_the_end_is_sticky_and_recv_tells_it(host: FakeHost, kernel: Kqueue, kind: int) -> None:
    """EV_EOF, in either filter, keeps receives going until ``recv`` has said the end."""
    with source_and_peer(host) as (source, peer):
        peer.send(b"hello")
        peer.close()
        kernel.ready = [Kevent(source.fd, kind, EV_EOF)]
        host.poller().dispatch()
        assert source.final
        reader = Reader(source)
        received = list(itertools.takewhile(bool, iter(lambda: reader._receive_now(100), None)))
        assert (received, reader._ended) == ([b"hello"], True)


def test_the_bits_of_an_event(host: FakeHost) -> None:
    """The two filters and EV_EOF in the core's own bits."""
    poller = host.poller()
    assert isinstance(poller, KqueuePoller)
    assert poller._bits(Kevent(1, FILTER_READ)) == READ
    assert poller._bits(Kevent(1, FILTER_WRITE)) == WRITE
    assert poller._bits(Kevent(1, FILTER_READ, EV_EOF)) & FINAL
    assert poller._bits(Kevent(1, FILTER_WRITE, EV_EOF)) & FINAL


def test_a_fork_closes_and_deletes_nothing(host: FakeHost, kernel: Kqueue) -> None:
    """A poller that is abandoned leaves the parent's filters alone."""
    with source_and_peer(host) as (source, _):
        host.poller().abandon()
        assert kernel.closed
        assert (source.fd, FILTER_READ) in kernel.filters
        assert not source.usable
