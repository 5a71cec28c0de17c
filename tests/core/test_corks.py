"""Answers that go together: by how many system calls, and who sees to it that they go at all."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context

import pytest

from bridgeio.buffers import Bytes
from bridgeio.contract import CURRENT
from bridgeio.errors import WriteBufferFullError
from bridgeio.limits import SEND_FIRST
from bridgeio.reader import Reader
from bridgeio.unpatched import get_ident
from bridgeio.writer import Writer
from fake_host import FakeHost, FakeTask, source_and_peer

LINES = [b"%d\n" % number for number in range(32)]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    host = FakeHost()
    yield host
    host.close()


class RunningTask(FakeTask):
    """One whose step is under way, in the thread that made it."""

    __slots__ = ("_made_in",)

    def __init__(self, host: FakeHost) -> None:
        super().__init__(host)
        self._made_in = get_ident()

    @property
    def thread(self) -> int:
        return self._made_in


class Answers:
    """A writer whose reader has got all of the lines, and asked for the first.

    :ivar sends: how many bytes each system call was given.
    """

    def __init__(self, host: FakeHost, sock: socket.socket, source: object) -> None:
        self.sends: list[int] = []
        self.reader = Reader(source)  # type: ignore[arg-type]
        self.reader._buffer.append(b"".join(LINES))
        self.reader._buffer.discard(len(LINES[0]))
        source.send = self._send  # type: ignore[attr-defined]
        self.writer = Writer(source, self.reader)  # type: ignore[arg-type]
        self.sock = sock

    def _send(self, data: Bytes) -> int:
        self.sends.append(len(data))
        return self.sock.send(data)

    def answer(self, number: int) -> None:
        """So many of them; after each the next is asked for."""
        for line in LINES[:number]:
            self.writer.write(line)
            self.reader._buffer.take_until(b"\n", 100)


@contextmanager
def answers(host: FakeHost) -> Iterator[tuple[Answers, socket.socket]]:
    """In a task of a run."""
    task = RunningTask(host)
    host.mains.add(task)
    token = CURRENT.set(task)
    try:
        with source_and_peer(host) as (source, peer):
            yield Answers(host, source.sock, source), peer
    finally:
        CURRENT.reset(token)


def test_one_call_sends_all(host: FakeHost) -> None:
    """Thirty-two answers to what came together are one system call, when the last is written."""
    with answers(host) as (answering, peer):
        answering.answer(len(LINES))
        assert answering.sends == [len(b"".join(LINES))]
        assert peer.recv(1000) == b"".join(LINES)


def test_the_host_is_asked_once(host: FakeHost) -> None:
    """One call of the host's ends the turn for all who hold something back; then a new one begins."""
    with answers(host) as (first, peer), answers(host) as (second, other):
        for _ in range(2):
            first.answer(2)
            second.answer(2)
            (end_of_turn,) = host.soon
            host.soon.clear()
            end_of_turn()
            assert peer.recv(100) == other.recv(100) == b"0\n1\n"


def test_a_task_in_a_dispatch_asks_nobody(host: FakeHost) -> None:
    """What it holds back goes out when the events have been seen to, without a turn of the host's."""

    class Reads(FakeTask):
        def wake_now(self) -> None:
            answering.answer(3)

    with answers(host) as (answering, peer):
        answering.writer._source.reader = Reads(host)  # type: ignore[attr-defined]
        peer.send(b"x")
        host.turn()
        assert host.soon == []
        assert peer.recv(100) == b"0\n1\n2\n"


def test_an_application_that_bridgeio_did_not_start(host: FakeHost) -> None:
    """Its tasks hold back as well, amid the events: no loop stops there."""
    sizes: list[int] = []

    class Reads(FakeTask):
        def wake_now(self) -> None:
            answering.answer(3)
            sizes.append(answering.writer.get_write_buffer_size())

    with answers(host) as (answering, peer):
        host.mains.clear()
        answering.writer._source.reader = Reads(host)  # type: ignore[attr-defined]
        peer.send(b"x")
        host.turn()
        assert sizes == [6]
        assert peer.recv(100) == b"0\n1\n2\n"


def test_a_host_that_ends_in_the_middle_of_a_turn(host: FakeHost) -> None:
    """What is held goes out before the descriptors are closed."""
    with answers(host) as (answering, peer):
        answering.answer(2)
        host.close()
        assert peer.recv(100) == b"0\n1\n"


def test_a_turn_that_ends_in_an_error(host: FakeHost) -> None:
    """Nobody waits for room in a connection that is broken."""
    with answers(host) as (answering, peer):
        answering.answer(2)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        (end_of_turn,) = host.soon
        end_of_turn()
        assert host.unflushed == set()
        with pytest.raises(ConnectionError):
            answering.answer(1)


def test_no_more_waits_than_may(host: FakeHost) -> None:
    """Where the kernel takes nothing, ``write_limit`` counts what was held: it is offered first, and then waits."""
    with answers(host) as (answering, _):
        answering.writer.write_limit = 3
        answering.answer(1)
        with suppress(BlockingIOError):
            while answering.sock.send(bytes(65536)):
                pass
        with pytest.raises(WriteBufferFullError):
            answering.answer(1)
        assert answering.writer.get_write_buffer_size() == 2


def test_a_turn_that_has_nothing_to_end(host: FakeHost) -> None:
    """The last answer took the others with it: the call that was asked for sends nothing more."""
    with answers(host) as (answering, peer):
        answering.answer(len(LINES))
        peer.recv(1000)
        for end_of_turn in host.soon:
            end_of_turn()
        with pytest.raises(BlockingIOError):
            peer.recv(1000)


def test_code_outside_any_task_holds_nothing(host: FakeHost) -> None:
    """Nobody knows whether the host will have a turn: its loop may not be running."""
    with answers(host) as (answering, peer):
        token = CURRENT.set(None)
        answering.answer(2)
        CURRENT.reset(token)
        assert answering.sends == [2, 2]
        assert host.soon == []
        assert peer.recv(100) == b"0\n1\n"


def test_a_task_of_somebody_elses_loop_holds_nothing(host: FakeHost) -> None:
    """Nobody knows when that stops."""
    with answers(host) as (answering, _):
        host.mains.clear()
        answering.answer(2)
        assert answering.sends == [2, 2]


def test_a_task_of_another_host_holds_nothing(host: FakeHost) -> None:
    """Its turns are another's."""
    other = FakeHost()
    with answers(host) as (answering, _):
        token = CURRENT.set(RunningTask(other))
        answering.answer(2)
        CURRENT.reset(token)
        assert answering.sends == [2, 2]
    other.close()


def test_another_thread_with_a_tasks_context_holds_nothing(host: FakeHost) -> None:
    """It is not in the task's step, whatever its context says."""
    with answers(host) as (answering, _):
        other = threading.Thread(target=copy_context().run, args=[answering.answer, 2])
        other.start()
        other.join()
        assert answering.sends == [2, 2]


def test_ctrl_c_in_the_midst_of_it(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out of one writer leaves it and the others to the next turn."""
    with answers(host) as (first, peer), answers(host) as (second, other):
        first.answer(1)
        second.answer(1)
        monkeypatch.setattr(Writer, "uncork", _interrupted)
        (end_of_turn,) = host.soon
        host.soon.clear()
        with pytest.raises(KeyboardInterrupt):
            end_of_turn()
        monkeypatch.undo()
        (end_of_turn,) = host.soon
        end_of_turn()
        assert peer.recv(100) == other.recv(100) == b"0\n"


def _interrupted(writer: Writer) -> None:
    raise KeyboardInterrupt


def test_a_forked_child_forgets(host: FakeHost) -> None:
    """What is held is the parent's to send, and what the child holds next, it asks its own host to send."""
    with answers(host) as (parents, _), answers(host) as (childs, peer):
        parents.answer(2)
        host.corked.forget()
        host.soon.clear()
        childs.answer(1)
        (end_of_turn,) = host.soon
        end_of_turn()
        assert peer.recv(100) == b"0\n"
        assert parents.sends == []


def test_a_fork_is_what_a_child_forgets_by(host: FakeHost) -> None:
    """The poller hears of it, and tells."""
    with answers(host) as (parents, _):
        parents.answer(2)
        host.poller().abandon()
        assert host.corked.writers == {}


def test_many_bytes_are_not_copied(host: FakeHost) -> None:
    """They go behind what is held, and not together with it."""
    with answers(host) as (answering, peer):
        answering.writer.set_write_buffer_limits(high=100)
        answering.answer(1)
        answering.writer.write(bytes(SEND_FIRST + 1))
        assert answering.sends[0] == SEND_FIRST
        assert peer.recv(2) == b"0\n"


def test_what_a_layer_says_meanwhile(host: FakeHost) -> None:
    """An alert of TLS that the kernel does not take waits; what is written then comes behind what is held."""
    with answers(host) as (answering, peer):
        source = answering.writer._source
        answering.answer(1)
        take, source.send = source.send, _take_nothing
        answering.writer.send_raw(b"alert\n")
        source.send = take
        answering.writer.write(b"1\n")
        host.turn()
        assert peer.recv(100) == b"alert\n0\n1\n"


def _take_nothing(data: Bytes, /) -> int:
    raise BlockingIOError
