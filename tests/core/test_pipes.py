"""Pipes and ptys under a stream, on each poller. Real descriptors, no loop."""

from __future__ import annotations

import os
import pty
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridgeio.errors import StreamClosedError
from bridgeio.pipes import PipeSource
from bridgeio.pollers import new_poller
from bridgeio.reader import Reader
from bridgeio.watching import WatchingPoller
from bridgeio.writer import Writer
from descriptors import open_descriptors
from fake_host import FakeHost, FakeTask


@pytest.fixture(params=[new_poller, WatchingPoller], ids=["platform's poller", "watches"])
def host(request: pytest.FixtureRequest) -> Iterator[FakeHost]:
    """A host on whose poller, or in whose watches, the pipes are."""
    host = FakeHost(request.param)
    yield host
    host.close()


@contextmanager
def pipe_to(host: FakeHost) -> Iterator[tuple[PipeSource, int]]:
    """A read end on the host, and the raw write end."""
    ours, theirs = os.pipe()
    source = PipeSource(host, ours, "the other end")
    try:
        yield source, theirs
    finally:
        source.close()
        close(theirs)


@contextmanager
def pipe_from(host: FakeHost) -> Iterator[tuple[Writer, int]]:
    """A writer on the host, and the raw read end."""
    theirs, ours = os.pipe()
    writer = Writer(PipeSource(host, ours, "the other end", writing=True))
    try:
        yield writer, theirs
    finally:
        writer.abort()
        close(theirs)


def close(fd: int) -> None:
    """Unless the test has done so."""
    if fd in open_numbers():
        os.close(fd)


def open_numbers() -> set[int]:
    return {int(entry.partition(":")[0]) for entry in open_descriptors()}


def read_now(source: PipeSource, most: int = 100) -> bytes | None:
    """One receive as a `Reader` does it: data, the end, or ``None`` if it would have to wait."""
    return Reader(source)._receive_now(most)


def waiting_reader(host: FakeHost, source: PipeSource) -> FakeTask:
    task = FakeTask(host)
    source.wait_readable(task)
    return task


def fill(writer: Writer) -> int:
    """Writes until the kernel takes no more; how many bytes it has by then."""
    writer.write(b"x" * (1 << 21))
    return (1 << 21) - writer.get_write_buffer_size()


def drain_into(host: FakeHost, fd: int, count: int) -> bytes:
    """Reads the raw end, and gives the host its turns, until so many bytes have come."""
    got = b""
    while len(got) < count:
        got += os.read(fd, 1 << 16)
        host.turn()
    return got


def test_a_waiting_reader_is_woken_by_bytes(host: FakeHost) -> None:
    """A read of an empty pipe waits, and ends when something comes."""
    with pipe_to(host) as (source, peer):
        assert read_now(source) is None
        task = waiting_reader(host, source)
        host.turn()
        assert task.woken == 0
        os.write(peer, b"hello")
        host.turn()
        assert task.woken == 1
        assert read_now(source) == b"hello"


def test_a_short_read_says_nothing(host: FakeHost) -> None:
    """It is tried until there is nothing (rule 2), and only then the next read waits; again and again."""
    with pipe_to(host) as (source, peer):
        for message in (b"one", b"two", b"three"):
            waiting_reader(host, source)
            os.write(peer, message)
            host.turn()
            assert read_now(source) == message
            assert source.readable
            assert read_now(source) is None
            assert not source.readable


def test_the_end_comes_after_the_bytes(host: FakeHost) -> None:
    """What was written before the last write end was closed is read first, then ``b""`` for ever."""
    with pipe_to(host) as (source, peer):
        waiting_reader(host, source)
        os.write(peer, b"last words")
        os.close(peer)
        host.turn()
        assert [read_now(source) for _ in range(3)] == [b"last words", b"", b""]


def test_a_second_write_end_keeps_it_open(host: FakeHost) -> None:
    """The end comes when nobody has the write end any more: a grandchild may have it still."""
    with pipe_to(host) as (source, peer):
        another = os.dup(peer)
        os.close(peer)
        task = waiting_reader(host, source)
        host.turn()
        assert task.woken == 0
        os.close(another)
        host.turn()
        assert task.woken == 1
        assert read_now(source) == b""


def test_what_the_pipe_does_not_take_is_flushed(host: FakeHost) -> None:
    """All bytes arrive, in order, as the other end makes room; nothing is asked of the poller before and after."""
    with pipe_from(host) as (writer, peer):
        watched = live_watches(host)
        writer.write(b"first ")
        assert os.read(peer, 100) == b"first "
        data = bytes(range(256)) * 4096
        writer.write(data)
        assert 0 < writer.get_write_buffer_size() < len(data)
        assert drain_into(host, peer, len(data)) == data
        assert writer.get_write_buffer_size() == 0
        assert live_watches(host) == watched


def live_watches(host: FakeHost) -> int:
    return sum(not handle.cancelled for handle in host.watches)


def test_the_end_is_written_after_what_waits(host: FakeHost) -> None:
    """``write_eof`` closes the write end once all is flushed; the other end reads everything, then the end."""
    with pipe_from(host) as (writer, peer):
        size = fill(writer) + writer.get_write_buffer_size()
        assert writer.can_write_eof()
        writer.write_eof()
        assert len(drain_into(host, peer, size)) == size
        assert os.read(peer, 1) == b""
        writer.write_eof()
        with pytest.raises(StreamClosedError, match="write_eof"):
            writer.write(b"more")
        writer.close()
        assert writer._source.closed


def test_a_reader_that_is_gone_is_a_broken_pipe(host: FakeHost) -> None:
    """The next write says so, and names the other end."""
    with pipe_from(host) as (writer, peer):
        os.close(peer)
        with pytest.raises(BrokenPipeError, match="write to the other end"):
            writer.write(b"anyone?")
        with pytest.raises(BrokenPipeError):
            writer.write(b"anyone?")


def test_a_reader_that_goes_is_noticed_by_a_flush(host: FakeHost) -> None:
    """Bytes that wait for room wait no longer when nobody will ever make any: the poller tells."""
    with pipe_from(host) as (writer, peer):
        fill(writer)
        host.turn()
        os.close(peer)
        host.turn()
        with pytest.raises(BrokenPipeError):
            writer.write(b"more")


def test_the_descriptor_is_closed_once(host: FakeHost) -> None:
    """A number that was closed may be somebody else's by then, and closing a stream again leaves it alone."""
    ours, theirs = os.pipe()
    source = PipeSource(host, ours)
    source.close()
    os.close(theirs)
    again = os.pipe()
    for way in (source.close, source.end, source.end_write, source.reset):
        way()
    assert set(again) <= open_numbers()
    for fd in again:
        os.close(fd)


def test_the_end_of_the_run_closes_it(host: FakeHost) -> None:
    """A pipe that nobody has closed is closed with its host, and every use of it after that says so."""
    ours, theirs = os.pipe()
    reader = Reader(PipeSource(host, ours))
    host.poller().end()
    assert ours not in open_numbers()
    with pytest.raises(StreamClosedError, match="has ended"):
        reader._receive_now(1)
    os.close(theirs)


def test_what_a_writer_tells_of_it(host: FakeHost) -> None:
    """``pipe`` is the file with the descriptor, as in asyncio, as long as that is open; ``peername`` the name given."""
    with pipe_from(host) as (writer, _):
        assert stat.S_ISFIFO(os.fstat(writer.get_extra_info("pipe").fileno()).st_mode)
        assert writer.get_extra_info("peername") == "the other end"
        assert writer.get_extra_info("socket", "none") == "none"
        writer.close()
        assert writer.get_extra_info("pipe") is None


@pytest.mark.parametrize("path", [".", "file"])
def test_what_cannot_be_waited_for_is_refused(host: FakeHost, path: str, tmp_path: Path) -> None:
    """A file or a folder is an error, on every poller, and its descriptor is closed."""
    (tmp_path / "file").write_text("text")
    fd = os.open(tmp_path / path, os.O_RDONLY)
    with pytest.raises(PermissionError, match="cannot be waited for"):
        PipeSource(host, fd)
    assert fd not in open_numbers()


@pytest.fixture
def terminal(host: FakeHost) -> Iterator[tuple[Callable[..., PipeSource], int]]:
    """Makes sources over the master side of a pty; and its other side."""
    master, slave = pty.openpty()
    made: list[PipeSource] = []

    def make(**options: Any) -> PipeSource:
        made.append(PipeSource(host, os.dup(master), "a terminal", **options))
        return made[-1]

    try:
        yield make, slave
    finally:
        for source in made:
            source.close()
        os.close(master)
        close(slave)


def test_a_pty_is_read_line_by_line_until_there_is_nothing(host: FakeHost, terminal: Any) -> None:
    """It gives less than it has, without another event."""
    make, slave = terminal
    source = make()
    waiting_reader(host, source)
    for line in (b"one\n", b"two\n"):
        os.write(slave, line)
    host.turn()
    got = b""
    while (data := read_now(source)) is not None:
        got += data
    assert got == b"one\r\ntwo\r\n"
    assert not source.readable


def test_a_pty_ends_when_nobody_has_its_other_side(host: FakeHost, terminal: Any) -> None:
    """Linux says EIO there: it is the end of the stream, after all that was written before."""
    make, slave = terminal
    source = make()
    waiting_reader(host, source)
    os.write(slave, b"bye\n")
    os.close(slave)
    host.turn()
    assert [read_now(source) for _ in range(3)] == [b"bye\r\n", b"", b""]


def test_writing_to_a_pty(host: FakeHost, terminal: Any) -> None:
    """Its other side reads what was written; its end cannot be told by closing."""
    make, slave = terminal
    writer = Writer(make(writing=True))
    writer.write(b"typed\n")
    assert os.read(slave, 100) == b"typed\n"
    assert not writer.can_write_eof()
    with pytest.raises(OSError, match="close"):
        writer.write_eof()


def test_a_pty_that_nobody_will_read_breaks(host: FakeHost, terminal: Any) -> None:
    """It takes no more and says "nothing now" for ever: a flush hears that its other side is gone."""
    make, slave = terminal
    writer = Writer(make(writing=True))
    writer.write(b"typed\n" * 10_000)
    assert writer.get_write_buffer_size()
    host.turn()
    os.close(slave)
    host.turn()
    with pytest.raises(BrokenPipeError):
        writer.write(b"anyone?\n")
