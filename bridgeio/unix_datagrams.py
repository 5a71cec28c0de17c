"""UNIX datagram sockets, with AnyIO's names. They are reliable: who sends waits while the receiver's queue is full."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from typing import Any, ClassVar

from bridgeio.buffers import Bytes
from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Task
from bridgeio.datagrams import DatagramSocket, DatagramSource
from bridgeio.errors import describe
from bridgeio.scopes import sleep
from bridgeio.socketfiles import SocketFile, is_abstract, remove_stale
from bridgeio.sockets import new_socket

__all__ = [
    "ConnectedUNIXDatagramSocket",
    "UNIXDatagramSocket",
    "create_connected_unix_datagram_socket",
    "create_unix_datagram_socket",
]

Path = str | bytes | os.PathLike[Any]

_FIRST_PAUSE = 0.001  # seconds until a send to a full queue is tried again ...
_LONGEST_PAUSE = 0.05  # ... and after many times


async def create_unix_datagram_socket(
    *, local_path: Path | None = None, local_mode: int | None = None
) -> UNIXDatagramSocket:
    """A UNIX datagram socket that receives from everybody, and sends to any path.

    Use it with ``async with``, or ``close`` it, which removes the path. A cancel leaves nothing open.

    :param local_path: where others can send to; without one this socket cannot be answered. A socket file that
        nobody has open any more is replaced. On Linux a path that begins with a null byte is an abstract name.
    :param local_mode: who may send to the path, such as ``0o600``; set before anybody can.
    :raises OSError: with ``EADDRINUSE`` if somebody has the path; `PermissionError` and others, as ``bind`` does.
    """
    task = await begin()
    source = _opened(task, local_path, local_mode, None)
    await spend(task)
    return UNIXDatagramSocket(source)


async def create_connected_unix_datagram_socket(
    remote_path: Path, *, local_path: Path | None = None, local_mode: int | None = None
) -> ConnectedUNIXDatagramSocket:
    """A UNIX datagram socket that sends to one path, and receives from there alone.

    Use it with ``async with``, or ``close`` it. A cancel leaves nothing open.

    :param remote_path: where the peer receives.
    :param local_path: a path of this socket's own: without one the peer cannot answer.
    :param local_mode: who may send to it.
    :raises OSError: `FileNotFoundError`, `ConnectionRefusedError` and others, as ``connect`` does.
    """
    task = await begin()
    source = _opened(task, local_path, local_mode, os.fspath(remote_path))
    await spend(task)
    return ConnectedUNIXDatagramSocket(source)


class UNIXDatagramSource(DatagramSource):
    """A UNIX datagram socket behind the poller.

    A queue that is full is the receiver's. The kernel tells when there is room again only to a socket that is
    connected to it; another has to try again.
    """

    hints: ClassVar[dict[int, str]] = {
        errno.EMSGSIZE: "the system bounds the datagrams of UNIX sockets, on Linux by the sender's SO_SNDBUF"
    }

    def size_of_next(self) -> int:
        """Linux tells, and a datagram may have megabytes. Where it does not, one that is too large is an error."""
        if sys.platform != "linux":
            return super().size_of_next()
        size = self.sock.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
        return max(size, 0)

    def is_full(self, error: OSError) -> bool:
        """macOS and the BSDs say it as if memory had run out."""
        return isinstance(error, BlockingIOError) or error.errno == errno.ENOBUFS

    async def wait_for_room(self, task: Task, tries: int) -> None:
        if self.peer is None or sys.platform != "linux":
            await sleep(min(_FIRST_PAUSE * 2 ** min(tries, 10), _LONGEST_PAUSE))
        else:
            await super().wait_for_room(task, tries)


class UNIXDatagramSocket(DatagramSocket[tuple[bytes, str | bytes]]):
    """A UNIX datagram socket that is not connected. `create_unix_datagram_socket` makes it; it belongs to its run.

    ``async for data, path in sock`` receives without end. One task may receive at a time; a second one gets
    `BusyError`, and the first is not disturbed. Any number of tasks may send meanwhile. A cancelled ``receive`` has
    taken nothing, a cancelled send has sent nothing. An empty datagram is a datagram, and no end.

    Nothing is lost, doubled or reordered here. While a receiver's queue is full a send to it waits, and tries again
    after a while, 50 ms at most: the kernel does not tell when there is room.
    """

    __slots__ = ()

    async def sendto(self, data: Bytes, path: Path) -> None:
        """Sends a datagram; waits until the receiver's queue has room for it.

        :raises StreamClosedError: after ``close``.
        :raises OSError: `FileNotFoundError` if there is no such path, `ConnectionRefusedError` if nobody has it open
            any more, `PermissionError` if this process may not; with ``EMSGSIZE`` for a datagram that is too large.
            Nothing was sent then.
        """
        await self._send(data, os.fspath(path))

    async def send(self, item: tuple[Bytes, Path]) -> None:
        """`sendto` for a pair of data and path, as ``receive`` returns it."""
        try:
            data, path = item
        except (TypeError, ValueError):
            raise TypeError(f"send() wants a pair of data and path, not {item!r:.100}") from None
        await self.sendto(data, path)

    def _item(self, data: bytes, address: Any) -> tuple[bytes, str | bytes]:
        """A sender without a path has the empty one; abstract names are bytes, as `socket` has them."""
        return data, address or ""


class ConnectedUNIXDatagramSocket(DatagramSocket[bytes]):
    """A UNIX datagram socket with one peer. `create_connected_unix_datagram_socket` makes it; it belongs to its run.

    ``async for data in sock`` receives without end. One task may receive at a time; a second one gets `BusyError`,
    and the first is not disturbed. Any number of tasks may send meanwhile. A cancelled ``receive`` has taken
    nothing, a cancelled send has sent nothing. An empty datagram is a datagram, and no end: that the peer is gone
    is told by the next ``send``.
    """

    __slots__ = ()

    async def send(self, item: Bytes) -> None:
        """Sends a datagram; waits until the peer's queue has room for it.

        :raises StreamClosedError: after ``close``.
        :raises OSError: `ConnectionRefusedError` if the peer has closed, with ``ENOTCONN`` after that; with
            ``EMSGSIZE`` for a datagram that is too large. Nothing was sent then.
        """
        await self._send(item)

    def _item(self, data: bytes, address: Any) -> bytes:
        return data


def _opened(task: Task, path: Path | None, mode: int | None, remote: str | bytes | None) -> UNIXDatagramSource:
    sock = new_socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    file: SocketFile | None = None
    try:
        if path is not None:
            file = _bind(sock, os.fspath(path), mode)
        peer = None if remote is None else _connect(sock, remote)
        source = UNIXDatagramSource(task.host, sock, peer, peer if file is not None else None)
    except BaseException:
        sock.close()
        if file is not None:
            file.remove()
        raise
    source.on_close = None if file is None else file.remove
    return source


def _bind(sock: socket.socket, path: str | bytes, mode: int | None) -> SocketFile:
    if mode is not None and is_abstract(path):
        raise ValueError(f"{path!r} is an abstract name: that is no file, and has no mode")
    try:
        remove_stale(path)
        if mode is not None:
            with contextlib.suppress(OSError):  # Linux makes the file with the socket's mode, less the umask
                os.fchmod(sock.fileno(), mode)
        sock.bind(path)
        file = SocketFile(path)
        if mode is not None:
            _set_mode(path, mode, file)
    except OSError as error:
        raise describe(error, "bind a datagram socket to", path) from error
    return file


def _set_mode(path: str | bytes, mode: int, file: SocketFile) -> None:
    """All of the mode. Until now nobody had more rights than that, where the system allows."""
    try:
        os.chmod(path, mode)
    except BaseException:
        file.remove()
        raise


def _connect(sock: socket.socket, remote: str | bytes) -> Any:
    try:
        sock.connect(remote)
        return sock.getpeername()
    except OSError as error:
        raise describe(error, "connect to", remote) from error
