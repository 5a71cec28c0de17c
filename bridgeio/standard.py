"""The standard streams of the process as `Reader` and `Writer`.

Rule 1: descriptors 0, 1 and 2 are shared with the shell that started the program, and with whoever else it started.
Making one non-blocking would make it so for all of them. So a pipe, a FIFO and a terminal are opened anew, which
gives a descriptor of our own; what cannot be, or cannot be waited for (a file, a disk, ``/dev/null``), is read and
written in worker threads, as it is.
Rule 2: two readers of one stream would steal bytes from each other, so there is one for each run, and the same for
all who ask.
Rule 3: what was written is flushed at the end of the run, also if nobody closes the writer: that is what everybody
expects of standard output. Whoever does not read it delays the end by `LINGER` seconds at most. What is lost is an
error, of the run itself if there is nobody else to tell.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bridgeio.buffers import Bytes
from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Host, Task
from bridgeio.descriptors import other_run, unusable
from bridgeio.errors import SharedBetweenRunsError, StreamClosedError, describe
from bridgeio.events import Event
from bridgeio.guarded import GuardedWriter
from bridgeio.limits import LIMIT, LINGER, WRITE_LIMIT, check_size
from bridgeio.pipes import PipeSource
from bridgeio.reader import Reader
from bridgeio.runvars import LAST_LOOKS, RunVar, kept_by
from bridgeio.scopes import move_on_after
from bridgeio.threadcache import Tell, cache
from bridgeio.unpatched import original
from bridgeio.writer import Writer

__all__ = ["FileSink", "FileSource", "open_stderr", "open_stdin", "open_stdout"]

NAMES = ("the standard input", "the standard output", "the standard error")
CHUNK = 65536  # bytes that a thread reads or writes at once

_streams: RunVar[dict[int, Any]] = RunVar("bridgeio.standard.streams")


async def open_stdin(*, limit: int = LIMIT) -> Reader:
    """The standard input: a terminal, a pipe, a file, whatever it is, and without a change for others who share it.

    All who ask in one run get the same reader, which belongs to the run. It reads ahead: what it has taken
    and nobody has read when the run ends is lost, and what `sys.stdin` has buffered before it does not see. A
    cancelled read has taken nothing from the reader. Where a thread reads (a file, ``/dev/null``, a socket) a read
    that has begun cannot be ended: it goes on until something comes, after the run too, and takes that away.

    :param limit: bytes that ``readuntil`` may buffer; the last to ask decides.
    :raises OSError: if the descriptor is closed, or was when the program started.
    """
    check_size("limit", limit)
    task = await begin()
    streams = kept_by(task.host, _streams, dict)
    reader: Reader | None = streams.get(0)
    if reader is None:
        own = _opened_anew(0, os.O_RDONLY)
        source: Any = FileSource(task.host, 0, NAMES[0]) if own is None else PipeSource(task.host, own, NAMES[0])
        reader = streams[0] = Reader(source)
    reader.limit = limit
    await spend(task)
    return reader


async def open_stdout(*, write_limit: int = WRITE_LIMIT) -> Writer:
    """The standard output, likewise. What `sys.stdout` has buffered is flushed first.

    All who ask in one run get the same writer, until it is closed; ``close`` ends the writer and leaves the
    descriptor itself open. What was written is flushed when the run ends, for at most 10 seconds. ``print`` may be
    used beside it, and comes in order where it is flushed, and nothing waits in the writer (await ``drain`` after
    ``set_write_buffer_limits(0)``).

    :param write_limit: bytes that may wait; the last to ask decides.
    :raises OSError: if the descriptor is closed, or was when the program started.
    """
    return await _open_output(1, sys.stdout, write_limit)


async def open_stderr(*, write_limit: int = WRITE_LIMIT) -> Writer:
    """The standard error, in the same way as `open_stdout`."""
    return await _open_output(2, sys.stderr, write_limit)


async def _open_output(fd: int, pythons: Any, write_limit: int) -> Writer:
    check_size("write_limit", write_limit)
    task = await begin()
    host = task.host
    streams = kept_by(host, _streams, dict)
    writer: Writer | None = streams.get(fd)
    if writer is None or writer.is_closing():
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it is closed
            pythons.flush()
        own = _opened_anew(fd, os.O_WRONLY)
        sink: Any = FileSink(host, fd, NAMES[fd]) if own is None else _PipeSink(host, own, NAMES[fd])
        writer = streams[fd] = (GuardedWriter if host.guarded else Writer)(sink)
        kept_by(host, LAST_LOOKS, set).add(_check_written)
    writer.write_limit = write_limit
    await spend(task)
    return writer


def _check_written(host: Host) -> None:
    """At the end of a run that went well.

    :raises OSError: if something that was written to a standard stream is lost, and nobody has been told.
    """
    for fd, stream in host.variables.get(_streams, {}).items():
        if isinstance(stream, Writer):
            stream.check_flushed()
            if left := stream.get_write_buffer_size():
                untaken = f"nobody took the last {left} bytes within {LINGER:g} s"
                raise describe(TimeoutError(errno.ETIMEDOUT, untaken), "write to", NAMES[fd])


def _opened_anew(fd: int, flags: int) -> int | None:
    """A non-blocking descriptor of our own for the same pipe or terminal; ``None`` if there cannot be one.

    Not on systems where ``/dev/fd`` would only copy the descriptor. Nor for a pipe of another user's, which may be used
    and not opened.
    """
    try:
        mode = os.fstat(fd).st_mode
        if _was_closed(fd):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    except OSError as error:
        raise describe(error, "open", NAMES[fd]) from error
    if sys.platform == "linux" and (stat.S_ISFIFO(mode) or os.isatty(fd)):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return None


def _was_closed(fd: int) -> bool:
    """Whether the program was started without it (``program <&-``), and somebody else has got its number since, such as
    the loop. What was put there to be a standard stream is inherited by children, and what Python opens is not."""
    return (sys.__stdin__, sys.__stdout__, sys.__stderr__)[fd] is None and not os.get_inheritable(fd)


class _Unflushed:
    """Bytes that a writer has and its descriptor has not: while there are any, the end of the run waits for this."""

    def __init__(self, host: Host) -> None:
        self._lingering = host.lingering
        self._flushed = Event()

    def note(self, there_are_some: bool) -> None:
        if there_are_some:
            self._lingering.add(self)
        elif self in self._lingering:
            self._lingering.discard(self)
            self._flushed.set()
            self._flushed = Event()

    async def wait_flushed(self) -> None:
        with move_on_after(LINGER):
            await self._flushed.wait()
        self._lingering.discard(self)


class _PipeSink(PipeSource):
    """A pipe or terminal that was opened anew."""

    __slots__ = ("_unflushed",)

    def __init__(self, host: Host, fd: int, peer: object) -> None:
        self._unflushed = _Unflushed(host)
        super().__init__(host, fd, peer, writing=True)

    def call_when_writable(self, callback: Callable[[], None] | None) -> None:
        super().call_when_writable(callback)
        self._unflushed.note(callback is not None)

    def close_descriptor(self) -> None:
        self._unflushed.note(False)
        super().close_descriptor()


class _InThreads:
    """A descriptor that threads read or write, one at a time; it stays somebody else's."""

    def __init__(self, host: Host, fd: int, name: str) -> None:
        self.host = host
        self.peer: object = name
        self._fd = fd
        self._error: OSError | None = None
        self._busy = False
        host.call_at_end(self.end)

    def end(self) -> None:
        """The run is over: whoever uses this from now on hears of that."""
        self._error = unusable(self.peer, closed=False)

    def _start(self, operation: Callable[[], Any]) -> None:
        """Makes a call in a thread, unless one is under way; then `_done` is called with its result, or without.

        :raises OSError: if the system gives no thread.
        """

        def work() -> Tell:
            try:
                done = partial(self._end, operation(), None)
            except OSError as error:
                done = partial(self._end, None, error)
            return partial(_tell, self.host, done)

        if not self._busy:
            cache.start(work)
            self._busy = True

    def _end(self, result: Any, error: OSError | None) -> None:
        self._busy = False
        self._error = error
        self._done(result)

    def _done(self, result: Any) -> None:
        raise NotImplementedError

    def of_another_run(self) -> SharedBetweenRunsError:
        return other_run(self.peer)


class FileSource(_InThreads):
    """What a `Reader` reads where no poller can tell that there is something: the `ByteSource` of a file."""

    exhaust = False

    def __init__(self, host: Host, fd: int, name: str) -> None:
        super().__init__(host, fd, name)
        self.readable = False
        self._data: bytes | None = None
        self._task: Task | None = None

    def end(self) -> None:
        super().end()
        self.readable = True  # so that whoever reads finds the error

    def recv(self, most: int) -> bytes:
        if self._error is not None:
            raise self._error
        if self._data is None:
            raise BlockingIOError
        data = self._data[:most]
        if data:
            self._data = self._data[most:] or None
        return data

    def nothing_now(self) -> None:
        self.readable = False

    def wait_readable(self, task: Task) -> Any:
        if task.host is not self.host:
            raise self.of_another_run()
        self._start(partial(_read, self._fd))
        self._task = task
        return task.park(self._forget)

    def doing(self, abort: object) -> str:
        return f"reading from {self.peer}"

    def _done(self, result: bytes | None) -> None:
        self._data = result
        self.readable = True
        task, self._task = self._task, None
        if task is not None:
            task.wake()

    def _forget(self) -> bool:
        """The thread goes on, and what it reads is there for the next read."""
        self._task = None
        return True


class FileSink(_InThreads):
    """What a `Writer` writes to where no poller can tell that there is room: the `ByteSink` of a file.

    A thread is given the bytes at the head of what waits, and only when it has written some does ``gather``, asked for
    the same bytes again, say that it has taken them.
    """

    can_end_write = True
    joins_answers = False

    def __init__(self, host: Host, fd: int, name: str) -> None:
        super().__init__(host, fd, name)
        self.usable = True
        self.closed = False
        self._written = 0
        self._on_writable: Callable[[], None] | None = None
        self._unflushed = _Unflushed(host)

    def send(self, data: Bytes) -> int:
        return self.gather([data])

    def gather(self, chunks: Sequence[Bytes]) -> int:
        if self._error is not None:
            raise self._error
        written, self._written = self._written, 0
        rest = b"".join(chunks)[written : written + CHUNK]
        if rest:
            self._start(partial(_write, self._fd, rest))
        if not written:
            raise BlockingIOError
        return written

    def call_when_writable(self, callback: Callable[[], None] | None) -> None:
        self._on_writable = callback
        self._unflushed.note(callback is not None)

    def end_write(self) -> None:
        self.closed = True

    def broke(self, error: OSError) -> None:
        """Nobody else uses it."""

    def reset(self) -> None:
        """What a thread has begun to write cannot be taken back."""

    def end(self) -> None:
        super().end()
        self.usable = False

    def close(self) -> None:
        self.host.spare_at_end(self.end)
        self.closed = True
        self.usable = False
        self.call_when_writable(None)

    def extra(self, name: str, default: Any) -> Any:
        return self.peer if name == "peername" else default

    def why_unusable(self) -> StreamClosedError:
        return unusable(self.peer, self.closed)

    def _done(self, result: int | None) -> None:
        self._written = result or 0
        if self._on_writable is not None:
            self._on_writable()


def _read(fd: int) -> bytes:
    """In a thread; also if somebody has made the descriptor non-blocking."""
    while True:
        try:
            return os.read(fd, CHUNK)
        except BlockingIOError:
            _wait_for(fd, select.POLLIN)


def _write(fd: int, data: bytes) -> int:
    while True:
        try:
            return os.write(fd, data)
        except BlockingIOError:
            _wait_for(fd, select.POLLOUT)


def _wait_for(fd: int, events: int) -> None:
    poll = original("select", "poll")()
    poll.register(fd, events)
    poll.poll()


def _tell(host: Host, done: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the run has ended: nobody waits
        host.call_soon_threadsafe(done)
