"""Where the platform has no poller: each wait is a watch of the host's own, and ends with it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from bridgeio.reader import Reader
from bridgeio.watching import WatchingPoller
from fake_host import FakeHost, FakeTask, source_and_peer


@pytest.fixture
def host() -> Any:
    """A host whose platform has neither epoll nor kqueue."""
    host = FakeHost(WatchingPoller)
    yield host
    host.close()


def live(host: FakeHost) -> int:
    return sum(not handle.cancelled for handle in host.watches)


def test_nothing_is_watched_while_nobody_waits(host: FakeHost) -> None:
    """A level-triggered watch that nobody needs would fire for ever: there is none."""
    with source_and_peer(host) as (_, peer):
        peer.send(b"hello")
        assert live(host) == 0


def test_a_wait_is_a_watch_that_fires_once(host: FakeHost) -> None:
    """The task is woken, the watch is gone, and the bytes can be read."""
    task = FakeTask(host)
    with source_and_peer(host) as (source, peer):
        source.wait_readable(task)
        assert live(host) == 1
        host.turn()
        assert task.woken == 0
        peer.send(b"hello")
        host.turn()
        assert (task.woken, live(host)) == (1, 0)
        assert Reader(source)._receive_now(100) == b"hello"


def test_a_connect_waits_for_writability(host: FakeHost) -> None:
    """A task may wait for room, or for its connect, in the same way."""
    task = FakeTask(host)
    with source_and_peer(host) as (source, _):
        source.wait_writable(task)
        assert live(host) == 1
        host.turn()
        assert (task.woken, live(host)) == (1, 0)


def test_a_flush_is_watched_until_it_is_over(host: FakeHost) -> None:
    """While bytes are left over each writability calls back; afterwards nothing is watched."""
    called: list[bool] = []
    with source_and_peer(host) as (source, _):
        source.call_when_writable(lambda: called.append(True))
        host.turn()
        host.turn()
        assert called == [True, True]
        source.call_when_writable(None)
        host.turn()
        assert len(called) == 2
        assert live(host) == 0


def test_both_directions_are_two_watches(host: FakeHost) -> None:
    """A reader that waits is not woken because there is room for writing."""
    reader, writer = FakeTask(host), FakeTask(host)
    with source_and_peer(host) as (source, _):
        source.wait_readable(reader)
        source.wait_writable(writer)
        host.turn()
        assert (reader.woken, writer.woken) == (0, 1)
        assert live(host) == 1


def test_closing_ends_the_watches(host: FakeHost) -> None:
    """A closed stream is watched no more: its number may be somebody else's by then."""
    task = FakeTask(host)
    with source_and_peer(host) as (source, _):
        source.wait_readable(task)
        source.call_when_writable(lambda: None)
        source.close()
        assert live(host) == 0
        assert task.woken == 1


def test_closing_the_host_ends_the_watches() -> None:
    """A host that ends takes back every watch."""
    host = FakeHost(WatchingPoller)
    with source_and_peer(host) as (source, _):
        source.wait_readable(FakeTask(host))
        host.close()
        assert live(host) == 0


def test_data_and_end_at_once(host: FakeHost) -> None:
    """A short read clears the flag here too; the end is found at the next wait, for the watch tells of it again."""
    task = FakeTask(host)
    with source_and_peer(host) as (source, peer):
        reader = Reader(source)
        peer.send(b"hello")
        peer.shutdown(socket.SHUT_WR)
        source.wait_readable(task)
        host.turn()
        assert reader._receive_now(100) == b"hello"
        source.wait_readable(task)
        host.turn()
        assert task.woken == 2
        assert reader._receive_now(100) == b""
