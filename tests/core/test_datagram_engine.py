"""The rules of the engine for datagrams, each as a test that fails when the rule is removed. Real sockets, no loop."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.cancellation import cancel
from bridgeio.datagrams import DatagramSource
from bridgeio.poller import READ, WRITE
from bridgeio.unix_datagrams import UNIXDatagramSource
from bridgeio.watching import WatchingPoller
from descriptors import open_descriptors
from driven import DrivenTask
from fake_host import FakeHost

pytestmark = pytest.mark.skipif(not hasattr(__import__("select"), "epoll"), reason="this platform has no epoll")


@pytest.fixture
def host() -> Any:
    """A host with a poller of its own."""
    host = FakeHost()
    yield host
    host.close()


@contextmanager
def source_and_peer(host: FakeHost) -> Iterator[tuple[DatagramSource, socket.socket]]:
    """A connected UNIX datagram source, whose sends a full queue stops, and the raw socket at its other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (ours, theirs):
        end.setblocking(False)
    source = UNIXDatagramSource(host, ours, "the peer")
    try:
        yield source, theirs
    finally:
        source.close()
        theirs.close()


def udp_sockets() -> tuple[socket.socket, socket.socket]:
    made = []
    for _ in range(2):
        made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        made[-1].bind(("127.0.0.1", 0))
        made[-1].setblocking(False)
    return made[0], made[1]


def fill(source: DatagramSource) -> None:
    while source.send_now(b"filling", None):
        pass


def empty(sock: socket.socket) -> None:
    try:
        while True:
            sock.recv(100)
    except BlockingIOError:
        return


def test_rule_1_a_source_is_read_until_it_has_nothing(host: FakeHost) -> None:
    """One event stands for any number of datagrams: the next receive is tried until it finds nothing."""
    with source_and_peer(host) as (source, peer):
        for number in range(3):
            peer.send(b"%d" % number)
        host.turn()
        assert [source.receive_now() for _ in range(3)] == [(b"%d" % number, None) for number in range(3)]
        assert source.readable
        assert source.receive_now() is None
        assert not source.readable


def test_rule_2_no_useless_events(host: FakeHost) -> None:
    """A datagram that leaves is no event: writability is not asked for, on UDP and UNIX sockets."""
    ours, theirs = udp_sockets()
    source = DatagramSource(host, ours)
    with theirs, source_and_peer(host) as (unix, peer):
        for _ in range(10):
            assert source.send_now(b"message", theirs.getsockname())
            assert unix.send_now(b"message", None)
            assert theirs.recv(100) == peer.recv(100) == b"message"
            host.turn()
        assert host.poller().events == 0
    source.close()


def test_rule_2_writability_is_asked_for_while_somebody_waits(host: FakeHost) -> None:
    """A send that finds no room waits for one event; after it nothing is asked for any more."""
    with source_and_peer(host) as (source, peer):
        fill(source)
        tasks = [DrivenTask(host), DrivenTask(host)]
        for task in tasks:
            assert task.begin(source.send(task, b"patient")) == "parked"
        host.turn()
        assert [task.woken for task in tasks] == [0, 0]
        empty(peer)
        host.turn()
        assert [task.woken for task in tasks] == [1, 1]
        assert [task.go_on() for task in tasks] == ["", ""]
        events = host.poller().events
        for _ in range(5):
            empty(peer)
            host.turn()
        assert host.poller().events == events


def test_rule_2_it_is_not_asked_for_when_the_last_has_gone(host: FakeHost) -> None:
    """A send that is cancelled while it waits leaves no interest behind, and the others theirs."""
    with source_and_peer(host) as (source, peer):
        fill(source)
        first, second = DrivenTask(host), DrivenTask(host)
        for task in (first, second):
            assert task.begin(source.send(task, b"patient")) == "parked"
        first.close()
        assert len(source.writers) == 1
        second.close()
        empty(peer)
        host.turn()
        assert host.poller().events == 0
        assert (first.woken, second.woken, source.statistics().tasks_waiting_send) == (0, 0, 0)


@pytest.mark.parametrize("operation", ["receive", "send"])
def test_who_waits_again_looks_again(host: FakeHost, operation: str) -> None:
    """A task that is woken for nothing, and cancelled before it goes on, does not wait once more: nobody would
    wake it."""
    with source_and_peer(host) as (source, _):
        fill(source)
        task = DrivenTask(host)
        assert task.begin(source.receive(task) if operation == "receive" else source.send(task, b"data")) == "parked"
        source.on_event(READ if operation == "receive" else WRITE)
        assert task.woken == 1
        cancel(task.scope)
        with pytest.raises(host.cancelled_class):
            task.go_on()


def test_a_full_queue_that_the_kernel_does_not_tell_of(host: FakeHost, tmp_path: Path) -> None:
    """A socket that is not connected is writable whatever the queue that it sends to: it asks the clock, more and
    more seldom, and not the poller, which would wake it at once, for ever."""
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.setblocking(False)
        source = UNIXDatagramSource(host, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        source.sock.setblocking(False)
        while source.send_now(b"filling", path):
            pass
        task = DrivenTask(host)
        waits = task.begin(source.send(task, b"patient", path))
        pauses: list[float] = []
        for _ in range(1100):
            assert (waits, task.woken) == ("parked", len(pauses))
            host.turn()
            when = min(handle.details[0] for handle in host.timers_set if not handle.cancelled)
            pauses.append(round(when - host.time, 6))
            host.pass_time(when)
            waits = task.go_on()
        assert host.poller().events == 0
        assert pauses == sorted(pauses)
        assert (pauses[0], pauses[-1]) == (0.001, 0.05)
        empty(receiver)
        host.pass_time(host.time + 1)
        assert (task.go_on(), receiver.recv(100)) == ("", b"patient")
        source.close()


def test_without_a_poller_a_source_is_watched_while_somebody_waits() -> None:
    """Rule 11 of the engine: each wait is a watch of the host's own, for datagrams and for room."""
    host = FakeHost(WatchingPoller)
    with source_and_peer(host) as (source, peer):
        receiver, sender = DrivenTask(host), DrivenTask(host)
        assert receiver.begin(source.receive(receiver)) == "parked"
        fill(source)
        assert sender.begin(source.send(sender, b"patient")) == "parked"
        assert len([watch for watch in host.watches if not watch.cancelled]) == 2
        empty(peer)
        peer.send(b"data")
        host.turn()
        assert (receiver.woken, sender.woken) == (1, 1)
        assert (receiver.go_on(), receiver.result, sender.go_on()) == ("", (b"data", None), "")
        assert [watch for watch in host.watches if not watch.cancelled] == []
    host.close()


def test_rule_3_a_datagram_that_fills_all_that_was_asked_for(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was cut: that is an error, also where the system does not tell how large the next one is."""
    monkeypatch.setattr("bridgeio.unix_datagrams.sys", FakeSystem("darwin"))
    monkeypatch.setattr("bridgeio.datagrams.DATAGRAM_MAX", 10)
    with source_and_peer(host) as (source, peer):
        for size in (10, 11, 3):
            peer.send(bytes(size))
        assert source.receive_now() == (bytes(10), None)
        with pytest.raises(OSError, match="more than 10 bytes came") as caught:
            source.receive_now()
        assert caught.value.errno == errno.EMSGSIZE
        assert source.receive_now() == (bytes(3), None)


class FakeSystem:
    def __init__(self, platform: str) -> None:
        self.platform = platform


class Full:
    """A socket of a system that says ENOBUFS where a queue is full."""

    def __init__(self, sock: socket.socket, code: int) -> None:
        self._sock = sock
        self.code = code

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        raise OSError(self.code, os.strerror(self.code))


def test_a_full_queue_on_other_systems(host: FakeHost) -> None:
    """macOS says of a full UNIX queue that it has no memory left: there is room again later. Of UDP it means it."""
    with source_and_peer(host) as (source, _):
        source.sock = Full(source.sock, errno.ENOBUFS)  # type: ignore[assignment]
        assert not source.send_now(b"data", None)
    ours, theirs = udp_sockets()
    with theirs:
        udp = DatagramSource(host, ours)
        udp.sock = Full(ours, errno.ENOBUFS)  # type: ignore[assignment]
        with pytest.raises(OSError, match="send 4 bytes to") as caught:
            udp.send_now(b"data", None)
        assert caught.value.errno == errno.ENOBUFS
        udp.close()


def test_what_is_dropped_is_not_known_everywhere(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell it is ``None``, and no number that looks like one."""
    with source_and_peer(host) as (source, _):
        for told in (None, 9999):  # no such system, no such option
            monkeypatch.setattr("bridgeio.datagrams._MEMINFO", told)
            assert source.statistics().dropped is None
        monkeypatch.setattr("bridgeio.datagrams._MEMINFO", socket.SO_RCVBUF)  # an option of another size
        assert source.statistics().dropped is None


def test_rule_4_an_error_is_raised_once(host: FakeHost) -> None:
    """What the network reports is one receive's, and the next finds what has come."""
    ours, theirs = udp_sockets()
    dead = theirs.getsockname()
    theirs.close()
    ours.connect(dead)
    source = DatagramSource(host, ours, dead)
    assert source.send_now(b"to nobody", None)
    host.turn()
    with pytest.raises(ConnectionRefusedError, match=r"receive from 127\.0\.0\.1"):
        source.receive_now()
    assert source.receive_now() is None
    source.close()


def test_nobody_closed_it(tmp_path: Path) -> None:
    """A socket that is open at the end of a run is closed then, its path is removed, and it says so when used."""
    path = tmp_path / "s"
    left: list[Any] = []

    async def main() -> None:
        left.append(await bridgeio.create_udp_socket(local_host="127.0.0.1"))
        left.append(await bridgeio.create_unix_datagram_socket(local_path=path))
        assert path.exists()

    before = open_descriptors()
    bridgeio.run(main)
    assert open_descriptors() == before
    assert not path.exists()

    async def use() -> None:
        for sock in left:
            with pytest.raises(bridgeio.StreamClosedError):
                await sock.receive()

    bridgeio.run(use)


@pytest.mark.parametrize("address", [("fe80::1%2", 9), ("fe80::1", 9, 0, 2), ["fe80::1", 9, 0, 2]])
def test_the_scope_of_an_address_is_kept(address: Any) -> None:
    """An address of `socket`'s has it apart: without it the kernel would send over any interface, or none."""

    async def main() -> None:
        async with await bridgeio.create_udp_socket(socket.AF_INET6) as udp:
            asked: list[Any] = []

            def send_now(data: Any, address: Any) -> bool:
                asked.append(address)
                return True

            udp._source.send_now = send_now  # type: ignore[method-assign]
            await udp.send((b"", address))
            assert asked[0][3] == 2

    bridgeio.run(main)


def test_from_synchronous_code() -> None:
    """Each call is one of `blocking`; ``close``, ``statistics`` and options are called as they are."""
    udp = bridgeio.blocking(bridgeio.create_udp_socket)(local_host="127.0.0.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        udp.set_options(ttl=3)
        bridgeio.blocking(udp.sendto)(b"question", *peer.getsockname())
        assert peer.recvfrom(100) == (b"question", udp.get_extra_info("sockname"))
        peer.sendto(b"answer", udp.get_extra_info("sockname"))
        assert bridgeio.blocking(udp.receive)() == (b"answer", peer.getsockname())
    assert (udp.statistics().sent, udp.statistics().received) == (1, 1)
    udp.close()
    with pytest.raises(bridgeio.StreamClosedError):
        bridgeio.blocking(udp.receive)()
