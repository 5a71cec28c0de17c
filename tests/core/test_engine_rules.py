"""The rules of the engine, each as a test that fails when the rule is removed. Real sockets, no loop.

Rule 10 (a watch that keeps no gevent hub alive, a poller that Twisted's select reactor can watch) is
about two hosts, and is tested with their adapters; rule 11 runs the conformance suite without a poller,
and is tested further in test_watching.py. All the others are here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.epoll import EpollPoller
from bridgeio.listeners import Listener
from bridgeio.poller import ERROR, HANGUP, PEER_DONE, Poller
from bridgeio.reader import Reader
from bridgeio.sockets import SocketSource
from descriptors import open_descriptors
from fake_host import FakeHost, FakeTask, source_and_peer

pytestmark = pytest.mark.skipif(not hasattr(__import__("select"), "epoll"), reason="this platform has no epoll")


@pytest.fixture
def host() -> Any:
    """A host with a poller of its own."""
    host = FakeHost()
    yield host
    host.close()


class Marks:
    """A source that only writes down its events."""

    level_triggered = False

    def __init__(self, poller: Poller, fd: int, then: Callable[[], object] = lambda: None) -> None:
        self.fd = fd
        self.registered = False
        self.seen: list[int] = []
        self.then = then
        poller.register(self)

    def on_event(self, events: int) -> None:
        self.seen.append(events)
        self.then()

    def abandon(self) -> None:
        self.registered = False

    def end(self) -> None:
        """The test closes its descriptors itself."""


def read_now(source: SocketSource, most: int = 100) -> bytes | None:
    """One receive as a `Reader` does it: data, the end, or ``None`` if it would have to wait."""
    return Reader(source)._receive_now(most)


def may_read(source: SocketSource) -> bool:
    """Whether a receive would be tried, or wait for an event."""
    return source.readable


def registrations(host: FakeHost) -> dict[int, int]:
    """What the kernel has in the epoll set: event bits by descriptor."""
    lines = Path(f"/proc/self/fdinfo/{host.poller().fileno()}").read_text().splitlines()
    rows = [line.split() for line in lines if line.startswith("tfd:")]
    return {int(row[1]): int(row[3], 16) for row in rows}


@pytest.mark.parametrize("family", ["ipv4", "unix"])
def test_rule_1_a_short_read_waits_for_an_event(host: FakeHost, family: str) -> None:
    """A receive that got less than it asked for is not followed by one that gets nothing."""
    with source_and_peer(host, family) as (source, peer):
        peer.send(b"hello")
        host.turn()
        assert read_now(source) == b"hello"
        assert not may_read(source)
        peer.send(b"more")
        host.turn()
        assert may_read(source)
        assert read_now(source) == b"more"


@pytest.mark.parametrize("family", ["ipv4", "unix"])
def test_rule_1_data_and_end_in_one_edge(host: FakeHost, family: str) -> None:
    """Data and FIN that arrive in one edge are followed by no other: the short read must not wait for it."""
    with source_and_peer(host, family) as (source, peer):
        peer.send(b"hello")
        peer.shutdown(socket.SHUT_WR)
        host.turn()
        assert read_now(source) == b"hello"
        assert source.readable
        assert read_now(source) == b""


def test_rule_1_the_end_comes_only_from_recv(host: FakeHost) -> None:
    """The event that tells of the end does not end the stream: what was sent before it is read first."""
    with source_and_peer(host) as (source, peer):
        peer.send(b"x" * 250)
        peer.close()
        host.turn()
        assert [read_now(source) for _ in range(4)] == [b"x" * 100, b"x" * 100, b"x" * 50, b""]


@pytest.mark.parametrize("final", [PEER_DONE, HANGUP, ERROR])
def test_rule_1_an_end_that_was_seen_is_not_forgotten(host: FakeHost, final: int) -> None:
    """Once RDHUP, HUP or ERR was seen no short read is trusted any more, also after one that found nothing."""
    with source_and_peer(host) as (source, peer):
        source.on_event(final)
        assert read_now(source) is None
        peer.send(b"late")
        host.turn()
        assert read_now(source) == b"late"
        assert may_read(source)


def test_rule_2_an_urgent_byte_does_not_stall(host: FakeHost) -> None:
    """A receive stops at the urgent mark, and no new edge follows: the next receive is tried all the same."""
    with source_and_peer(host) as (source, peer):
        peer.send(b"a" * 10)
        peer.send(b"!", socket.MSG_OOB)
        peer.send(b"b" * 10)
        host.turn()
        assert read_now(source) == b"a" * 10
        assert source.readable
        assert read_now(source) == b"b" * 10
        assert read_now(source) is None
        assert not source.readable


def test_rule_3_no_useless_edges_on_a_unix_socket(host: FakeHost) -> None:
    """A peer that reads what we sent is no event: writability is not asked for."""
    with source_and_peer(host, "unix") as (source, peer):
        for _ in range(10):
            source.sock.send(b"message")
            assert peer.recv(100) == b"message"
            host.turn()
        assert host.poller().events == 0


def test_rule_3_writability_is_asked_for_at_the_first_remainder(host: FakeHost) -> None:
    """When bytes are left over on a UNIX socket, the next room for them is an event; once, and no longer."""
    with source_and_peer(host, "unix") as (source, peer):
        called: list[bool] = []
        fill(source.sock)
        source.call_when_writable(lambda: called.append(True))
        host.turn()
        assert called == []
        drain(peer)
        host.turn()
        assert called == [True]
        source.call_when_writable(None)
        before = host.poller().events
        fill(source.sock)
        drain(peer)
        host.turn()
        assert host.poller().events == before


def test_rule_3_tcp_asks_once_and_for_all(host: FakeHost) -> None:
    """On TCP a remainder changes nothing in the kernel's set: writability was in the one registration."""
    with source_and_peer(host) as (source, peer):
        before = registrations(host)
        called: list[bool] = []
        fill(source.sock)
        host.turn()
        source.call_when_writable(lambda: called.append(True))
        assert registrations(host) == before
        while not called:
            drain(peer)
            host.turn()
        source.call_when_writable(None)
        assert registrations(host) == before


def test_rule_4_listeners_are_level_triggered(host: FakeHost) -> None:
    """A connection that could not be accepted is told of again, until somebody takes it; processes share fairly."""
    listener, task = listening(host)
    with socket.create_connection(listener.address):
        for times in range(1, 4):
            wait_for(listener, task)
            host.turn()
            assert task.woken == times
        accepted = listener.accept_now()
        assert accepted is not None
        accepted[0].close()
        wait_for(listener, task)
        host.turn()
        assert task.woken == 3
    exclusive = 1 << 28
    assert registrations(host)[listener.fd] & exclusive
    listener.close()


def test_rule_4_a_pause_is_an_unregister(host: FakeHost) -> None:
    """A listener that pauses costs nothing: a connection that waits is no event until the next wait."""
    listener, task = listening(host)
    wait_for(listener, task)
    listener.pause()
    with socket.create_connection(listener.address):
        host.turn()
        assert (task.woken, host.poller().events) == (0, 0)
        assert listener.fd not in registrations(host)
        wait_for(listener, task)
        host.turn()
        assert task.woken == 1
    listener.close()


def test_rule_5_an_exception_loses_no_event(host: FakeHost) -> None:
    """KeyboardInterrupt in one callback leaves the rest of the batch queued, and calls for another dispatch."""
    with both_ready(host) as (first, second):
        first.then = interrupt
        with pytest.raises(KeyboardInterrupt):
            host.turn()
        assert [len(first.seen), len(second.seen)] in ([1, 0], [1, 1])
        for callback in host.soon:
            callback()
        assert (len(first.seen), len(second.seen)) == (1, 1)


def test_rule_5_dispatch_is_reentrant(host: FakeHost) -> None:
    """A callback that dispatches again (a nested loop) hands out the rest; nothing comes twice."""
    with both_ready(host) as (first, second):
        first.then = second.then = host.poller().dispatch
        host.turn()
        assert (len(first.seen), len(second.seen)) == (1, 1)


def test_rule_6_no_event_for_who_left(host: FakeHost) -> None:
    """A source that is unregistered by another's callback gets no event of the same batch."""
    with both_ready(host) as (first, second):
        first.then = lambda: host.poller().unregister(second)
        second.then = lambda: host.poller().unregister(first)
        host.turn()
        assert len(first.seen) + len(second.seen) == 1


def test_rule_6_a_number_used_again_gets_no_old_event(host: FakeHost) -> None:
    """A descriptor closed and opened again within one batch: its new owner does not get the old one's event."""
    quiet, its_peer = socket.socketpair()
    heirs: list[Marks] = []

    def replace(victim: Marks) -> None:
        host.poller().unregister(victim)
        os.dup2(quiet.fileno(), victim.fd)
        heirs.append(Marks(host.poller(), victim.fd))

    with quiet, its_peer, both_ready(host) as (first, second):
        first.then = lambda: replace(second) if not heirs else None
        second.then = lambda: replace(first) if not heirs else None
        host.turn()
        assert [heir.seen for heir in heirs] == [[]]
        its_peer.send(b"!")
        host.turn()
        assert len(heirs[0].seen) == 1
        host.poller().unregister(heirs[0])


def test_rule_6_unregister_before_close(host: FakeHost) -> None:
    """A closed source leaves nothing in the kernel's set, also where a copy keeps its connection alive."""
    with source_and_peer(host) as (source, peer):
        copy = source.sock.dup()
        number = source.fd
        source.close()
        assert number not in registrations(host)
        peer.send(b"!")
        host.turn()
        assert host.poller().events == 0
        copy.close()


def test_rule_7_a_forked_child_leaves_the_parent_alone() -> None:
    """The child's streams are dead and say so, it can begin anew, and the parent's go on as if nothing had been."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, "child: dead, anew\nparent: alive\n"), done.stderr


FORKING = """
import sys
sys.path[:] = {path!r}
import os, bridgeio

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)

async def anew():
    async with bridgeio.serve(echo, "127.0.0.1") as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        async with writer:
            writer.write(b"anew\\n")
            return await reader.readline()

async def main():
    async with bridgeio.serve(echo, "127.0.0.1") as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        async with writer:
            writer.write(b"before\\n")
            assert await reader.readline() == b"before\\n"
            child = os.fork()
            if child == 0:
                try:
                    writer.write(b"the child's")
                except bridgeio.StreamClosedError as error:
                    assert "forked" in str(error), error
                assert bridgeio.run(anew) == b"anew\\n"
                print("child: dead, anew", flush=True)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            for _ in range(3):
                writer.write(b"after\\n")
                assert await reader.readline() == b"after\\n"
            print("parent: alive")

bridgeio.run(main)
""".replace("{path!r}", repr(sys.path))


def test_rule_7_a_child_changes_nothing_in_the_kernel() -> None:
    """A poller that is abandoned closes its own descriptor, and unregisters nothing."""
    calls: list[str] = []

    class Listening(EpollPoller):
        def _remove(self, source: Any) -> None:
            calls.append("remove")

        def close(self) -> None:
            calls.append("close")
            super().close()

    host = FakeHost(Listening)
    with source_and_peer(host) as (source, _):
        host.poller().abandon()
        assert calls == ["close"]
        assert not source.usable
        with pytest.raises(bridgeio.StreamClosedError, match="forked"):
            read_now(source)


def test_rule_8_the_watch_ends_before_the_poller() -> None:
    """A host takes its watch back while the descriptor is still the poller's own."""

    order: list[tuple[str, object]] = []

    class Logging(EpollPoller):
        def close(self) -> None:
            order.append(("closed", self.fileno()))
            super().close()

    host = FakeHost(Logging)
    host.log = order
    number = host.poller().fileno()
    host.close()
    assert order == [("cancelled", number), ("closed", number)]


def test_rule_8_no_loop_leaves_a_descriptor() -> None:
    """Loops that asyncio itself makes and ends, with streams of ours inside, leave no descriptor that was not there
    before. (Fewer there may be: an idle thread of an earlier test ends when it likes.)"""
    import asyncio

    async def main() -> None:
        async with bridgeio.serve(hang_up, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                assert await reader.read() == b""

    asyncio.run(main())
    before = open_descriptors()
    for _ in range(10):
        asyncio.run(main())
    assert open_descriptors() - before == set()


def test_rule_9_a_regular_file_is_refused(host: FakeHost, tmp_path: Path) -> None:
    """The kernel's refusal comes out as it is, and the poller is as before."""
    (tmp_path / "file").write_text("text")
    with (tmp_path / "file").open() as file, pytest.raises(PermissionError):
        Marks(host.poller(), file.fileno())
    assert host.poller().sources == {}


def test_rule_9_a_socket_made_non_blocking_is_ours_alone() -> None:
    """A socket handed in is taken over: what the caller holds is empty, and cannot be read beside us by mistake."""
    from bridgeio.listeners import take_over

    mine = socket.socket()
    mine.bind(("127.0.0.1", 0))
    ours = take_over(mine, 5)
    assert mine.fileno() == -1
    assert not ours.getblocking()
    ours.close()


def test_a_batch_is_bounded(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """One dispatch takes so many events and no more; the host gets its turn, and the rest comes after it."""
    monkeypatch.setattr("bridgeio.poller.EVENTS_PER_DISPATCH", 2)
    pairs = [socket.socketpair() for _ in range(5)]
    marks = [Marks(host.poller(), ours.fileno()) for ours, _ in pairs]
    for _, theirs in pairs:
        theirs.send(b"!")
    for served in (2, 4, 5):
        host.turn()
        assert sum(len(mark.seen) for mark in marks) == served
    for mark, (ours, theirs) in zip(marks, pairs, strict=True):
        host.poller().unregister(mark)
        ours.close()
        theirs.close()


async def hang_up(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    return None


def interrupt() -> None:
    raise KeyboardInterrupt


def fill(sock: socket.socket) -> None:
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        return


def drain(sock: socket.socket) -> None:
    try:
        while True:
            sock.recv(1 << 20)
    except BlockingIOError:
        return


def listening(host: FakeHost) -> tuple[Listener, FakeTask]:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return Listener(host, sock), FakeTask(host)


def wait_for(listener: Listener, task: FakeTask) -> None:
    """Begins to wait: the fake task's park does not, so the coroutine ends in a TypeError at its await."""
    with pytest.raises(TypeError):
        listener.wait(task).send(None)


@contextmanager
def both_ready(host: FakeHost) -> Iterator[tuple[Marks, Marks]]:
    """Two sources that are ready in the same batch."""
    pairs = [socket.socketpair(), socket.socketpair()]
    first, second = (Marks(host.poller(), ours.fileno()) for ours, _ in pairs)
    for _, theirs in pairs:
        theirs.send(b"!")
    try:
        yield first, second
    finally:
        for source in list(host.poller().sources.values()):
            host.poller().unregister(source)
        for ours, theirs in pairs:
            ours.close()
            theirs.close()
