"""Listening sockets: binding them, and taking connections from them."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from array import array
from contextlib import suppress
from typing import Any

from bridgeio.contract import AddressInfo, Host, Task
from bridgeio.errors import describe, show_address
from bridgeio.limits import check_count
from bridgeio.poller import READ
from bridgeio.socketfiles import SocketFile, remove_stale
from bridgeio.sockets import bound_socket, is_unix, new_socket

__all__ = ["BACKLOG", "QUEUED", "Listener", "bind_all", "bind_unix", "check_backlog", "take_over"]

BACKLOG = 65535  # the kernel lowers it to what the system allows ...
QUEUED = max(socket.SOMAXCONN, 128) + 1  # ... which is this, where nobody has raised it

_SO_ATTACH_FILTER = 26  # socket(7); Python has no name for it
_RET_0 = struct.pack("=HBBI", 0x06, 0, 0, 0)  # one BPF instruction: pass 0 bytes of each packet

# The connection, not the listener, has failed: the next accept is as good as any (accept(2)).
_NEXT_PLEASE = {
    errno.ECONNABORTED,
    errno.EINTR,
    errno.EPROTO,
    errno.ENETDOWN,
    errno.ENOPROTOOPT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EOPNOTSUPP,
    errno.ENETUNREACH,
    errno.EPERM,
    getattr(errno, "ENONET", errno.ENETDOWN),
}


class Listener:
    """A listening socket behind the poller, level-triggered.

    :param shared: whether other processes may listen on the same socket.
    """

    level_triggered = True

    def __init__(
        self, host: Host, sock: socket.socket, *, unlink: str | bytes | None = None, shared: bool = False
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.registered = False
        self.address: Any = sock.getsockname()
        self._kind = (int(sock.family), int(sock.type), sock.proto)
        self._poller = host.poller()
        self._waiting: Task | None = None
        self._file = None if unlink is None else SocketFile(unlink)
        self._owner = None if shared else os.getpid()

    def on_event(self, events: int) -> None:
        task, self._waiting = self._waiting, None
        if task is not None:
            task.wake()

    def abandon(self) -> None:
        self.registered = False

    def end(self) -> None:
        self.close()

    def accept_now(self) -> tuple[socket.socket, Any] | None:
        """The next connection, or ``None`` if there is none now.

        :raises OSError: if the process or the system has run out of something.
        """
        while True:
            try:
                fd, address = self.sock._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _NEXT_PLEASE:
                    continue
                raise
            return new_socket(*self._kind, fd), address

    async def wait(self, task: Task) -> None:
        """Until there may be a connection. Between waits the poller keeps an eye on it, too."""
        if not self.registered:
            self._poller.register(self)
        self._waiting = task
        if self._poller.arms_each_wait:
            self._poller.arm(self, task, READ)
        await task.park(self._forget)

    def pause(self) -> None:
        """Leaves connections in the kernel's queue until the next `wait`."""
        self._poller.unregister(self)

    def turn_away(self) -> None:
        """From now on nobody can connect; who has, can still be accepted.

        Closing the socket resets every connection that it holds, so one that came between the last accept and the
        close would be lost although its client has it. A socket that other processes listen on, too, goes on: what
        it holds is theirs.
        """
        if self._owner == os.getpid() and self.fd >= 0:
            with suppress(OSError):
                _refuse_connections(self.sock)

    def doing(self, abort: object) -> str:
        return f"accepting on {show_address(self.address)}"

    def close(self) -> None:
        if self.fd < 0:
            return
        self.pause()
        self.fd = -1
        self.sock.close()
        if self._file is not None:
            self._file.remove()

    def _forget(self) -> bool:
        self._waiting = None
        return True


def _refuse_connections(sock: socket.socket) -> None:
    if is_unix(sock):
        sock.shutdown(socket.SHUT_RD)  # a TCP socket would drop its queue
    elif sys.platform == "linux":
        drop_everything = array("B", _RET_0)
        address, _ = drop_everything.buffer_info()
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, address))


def check_backlog(backlog: object) -> None:
    check_count("backlog", backlog, least=0, most=2**31 - 1)  # `listen` takes a C int


def bind_all(addresses: list[AddressInfo], port: int, backlog: int, reuse_port: bool) -> list[socket.socket]:
    """One listening socket for each address, all on one port, also when the system chooses it.

    :raises OSError: `PermissionError` and others, as ``bind`` does, with the address.
    """
    for attempts_left in reversed(range(16 if port == 0 else 1)):
        sockets: list[socket.socket] = []
        try:
            for left, info in enumerate(addresses, 1 - len(addresses)):
                _bind_next(info, sockets, bool(sockets or left), reuse_port)
            for sock in sockets:
                sock.listen(backlog)
            return sockets
        except BaseException as error:
            for sock in sockets:
                sock.close()
            in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            if not (in_use and attempts_left):
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind_next(info: AddressInfo, sockets: list[socket.socket], others: bool, reuse_port: bool) -> None:
    family, kind, proto, _, address = info
    port = address[1]
    if port == 0 and sockets:
        port = sockets[0].getsockname()[1]
    address = (address[0], port, *address[2:])
    try:
        sockets.append(bound_socket(family, kind, proto, address, reuse_port))
    except OSError as error:
        family_is_missing = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
        if not (family_is_missing and others):
            raise describe(error, "listen on", address) from error


def bind_unix(path: str | bytes, mode: int | None, backlog: int) -> socket.socket:
    """A listening UNIX socket. A socket file that nobody listens on any more is replaced.

    The mode is set before anybody can connect.

    :raises OSError: with ``EADDRINUSE`` if somebody listens there, or if it is no socket.
    """
    sock = new_socket(socket.AF_UNIX)
    try:
        remove_stale(path)
        sock.bind(path)
        if mode is not None:
            os.chmod(path, mode)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise describe(error, "listen on", path) from error
    return sock


def take_over(sock: socket.socket, backlog: int) -> socket.socket:
    """A bound socket that somebody made, as one of ours; it is the server's from now on.

    It becomes non-blocking, and so it does for every process that shares it.
    """
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"serve() wants a stream socket, not {sock!r}")
    ours = new_socket(sock.family, sock.type, sock.proto, sock.detach())
    ours.listen(backlog)
    return ours
