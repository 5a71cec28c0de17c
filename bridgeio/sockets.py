"""Sockets of bridgeio's own, and streams over them."""

from __future__ import annotations

import _socket
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bridgeio.buffers import Bytes, Receive, Send
from bridgeio.contract import Host
from bridgeio.descriptors import DescriptorSource
from bridgeio.errors import again
from bridgeio.unpatched import original

__all__ = ["SocketSource", "bound_socket", "connect_error", "is_unix", "new_socket", "reset_on_close"]

_PlainSocket: type[socket.socket] = original("socket", "socket")  # whatever has been, or will be, patched
_family_of: Callable[[socket.socket], int] = vars(_socket.socket)["family"].__get__


class SocketSource(DescriptorSource):
    """A connected (or connecting) stream socket that bridgeio owns."""

    __slots__ = ("sock",)

    def __init__(self, host: Host, sock: socket.socket, peer: object = None) -> None:
        self.sock = sock
        self.recv: Receive = sock.recv
        self.send: Send = sock.send
        super().__init__(host, sock.fileno(), peer, asks_write=not is_unix(sock))

    def gather(self, chunks: Sequence[Bytes]) -> int:
        return self.sock.sendmsg(chunks)

    def end_write(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def broke(self, error: OSError) -> None:
        """The kernel tells of a reset once: a ``recv`` behind that would find an end that looks like the peer's."""
        if isinstance(error, ConnectionResetError):
            self.recv = partial(_recv_unless_reset, self.recv, again(error))

    def reset(self) -> None:
        if self.fd >= 0 and self.usable:  # else the connection is the parent process's
            reset_on_close(self.sock)

    def extra(self, name: str, default: Any) -> Any:
        if name in ("socket", "native"):
            return self.sock
        if name == "peername":
            return self.peer
        if name == "sockname" and self.usable:
            return self.sock.getsockname()
        return default

    def close_descriptor(self) -> None:
        self.sock.close()


def _recv_unless_reset(recv: Receive, error: OSError, most: int) -> bytes:
    data = recv(most)
    if not data:
        raise again(error)
    return data


def is_unix(sock: socket.socket) -> bool:
    """What ``sock.family == AF_UNIX`` says. Python makes an enumeration's member of the family each time it is
    asked for, which costs as much as accepting a connection."""
    return _family_of(sock) == socket.AF_UNIX


def new_socket(family: int, kind: int = socket.SOCK_STREAM, proto: int = 0, fileno: int | None = None) -> socket.socket:
    """A plain non-blocking socket, whatever has been patched."""
    sock = _PlainSocket(family, kind, proto, fileno)
    sock.setblocking(False)
    return sock


def bound_socket(family: int, kind: int, proto: int, address: Any, reuse_port: bool) -> socket.socket:
    """A new one, at an address. IPv6 is for IPv6 alone, whatever the system's default."""
    sock = new_socket(family, kind, proto)
    try:
        if kind == socket.SOCK_STREAM:  # between datagram sockets this would let others have the port, too
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def reset_on_close(sock: socket.socket) -> None:
    """Makes ``close`` drop what is unsent and tell the peer by a reset."""
    if not is_unix(sock):
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            return  # the peer was faster: there is no connection left to reset


def connect_error(sock: socket.socket) -> OSError | None:
    """How a non-blocking connect ended."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return OSError(code, os.strerror(code)) if code not in (0, errno.EISCONN) else None
