"""One end of a pipe, or of a pty, as a stream in one direction.

Rule 2 of `bridgeio.descriptors` holds always: a pty gives a line at a time whatever is asked for, so a short
read says nothing about what is left. Rule 3 too: writability is asked for when bytes are left over.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from bridgeio.buffers import Bytes, Receive, Send
from bridgeio.contract import Host
from bridgeio.descriptors import DescriptorSource
from bridgeio.unpatched import original

__all__ = ["PipeSource"]

T = TypeVar("T")


class PipeSource(DescriptorSource):
    """An end of a pipe or FIFO, or one side of a pty or tty: what a `Reader` reads from *or* a `Writer` writes to.

    The descriptor is bridgeio's from now on, also if this fails: then it is closed. It becomes non-blocking,
    and so it does for every process that shares it.

    :ivar file: what owns the descriptor.
    :ivar terminal: whether it is a pty or a tty, whose end is not told by closing one descriptor.
    :param peer: a name for messages, such as ``the standard output of process 123``.
    :param writing: which of the two it is for.
    :raises PermissionError: for what the system cannot wait for: a regular file, ``/dev/null``.
    """

    recv: Receive
    send: Send

    __slots__ = ("file", "terminal")

    def __init__(self, host: Host, fd: int, peer: object = None, *, writing: bool = False) -> None:
        self.file = _owner_of(fd, "wb" if writing else "rb")
        try:
            os.set_blocking(fd, False)
            self.terminal = os.isatty(fd)
            self.recv = partial(_read_terminal, fd) if self.terminal else partial(os.read, fd)
            self.send = partial(_to_terminal, os.write, fd) if self.terminal else partial(os.write, fd)
            super().__init__(host, fd, peer or f"the pipe {fd}", asks_write=False)
        except BaseException:
            self.file.close()
            raise
        self.exhaust = True

    def nothing_now(self) -> None:
        self.readable = False

    @property
    def can_end_write(self) -> bool:
        return not self.terminal

    def gather(self, chunks: Sequence[Bytes]) -> int:
        if not self.terminal:
            return os.writev(self.fd, chunks)
        sent = _to_terminal(os.writev, self.fd, chunks)
        if sent < sum(map(len, chunks)):
            _check_reader(self.fd)
        return sent

    def end_write(self) -> None:
        """A pipe has ended when nobody has its write end open any more, so there is nothing left to close."""
        self.close()
        self.usable = True  # else a Writer would take it for one whose run is over

    def reset(self) -> None:
        """What is in a pipe cannot be taken back, and the other end sees nothing but an end."""

    def extra(self, name: str, default: Any) -> Any:
        if name == "pipe" and not self.file.closed:
            return self.file
        if name == "peername":
            return self.peer
        return default

    def close_descriptor(self) -> None:
        self.file.close()


def _owner_of(fd: int, mode: str) -> io.FileIO:
    try:
        _check_kind(fd)
        return io.FileIO(fd, mode)
    except BaseException:
        original("os", "close")(fd)
        raise


def _check_kind(fd: int) -> None:
    """:raises PermissionError: as epoll does, where another poller would say that it is ready all the time."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode):
        raise PermissionError(errno.EPERM, f"descriptor {fd} is a file or a disk, and cannot be waited for")


def _read_terminal(fd: int, most: int) -> bytes:
    """Linux ends a pty whose other side nobody has open any more with EIO, others with ``b""``."""
    try:
        return os.read(fd, most)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def _to_terminal(write: Callable[[int, T], int], fd: int, data: T) -> int:
    """A terminal that nobody will read takes what it has room for, and then "nothing now" for ever."""
    try:
        return write(fd, data)
    except BlockingIOError:
        _check_reader(fd)
        raise


def _check_reader(fd: int) -> None:
    """:raises BrokenPipeError: if the other end of the terminal has hung up."""
    asked = original("select", "poll")()
    asked.register(fd, 0)
    if asked.poll(0):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
