"""Socket files: one that nobody has open any more is in the way, one that somebody else has made is his."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from bridgeio.sockets import new_socket

__all__ = ["SocketFile", "is_abstract", "remove_stale"]


def is_abstract(path: str | bytes) -> bool:
    """Whether it is a name of Linux's that stands for no file."""
    return path[:1] in ("\0", b"\0")


def remove_stale(path: str | bytes) -> None:
    """Removes a socket file that nobody has open. What is no socket, or is in use, stays, and ``bind`` fails.

    It is asked as for datagrams: whoever serves streams there is not disturbed by a connection, and one who
    has bound the path and does not listen yet is not taken for dead.
    """
    if is_abstract(path):
        return
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    if is_socket:
        with new_socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            if probe.connect_ex(path) == errno.ECONNREFUSED:
                os.unlink(path)


class SocketFile:
    """A path that was just bound. It is removed only while it is that same file."""

    def __init__(self, path: str | bytes) -> None:
        self._path = path
        self._inode = 0 if is_abstract(path) else os.stat(path).st_ino

    def remove(self) -> None:
        if self._inode:
            with contextlib.suppress(OSError):
                if os.stat(self._path).st_ino == self._inode:  # nobody has bound the path anew
                    os.unlink(self._path)
