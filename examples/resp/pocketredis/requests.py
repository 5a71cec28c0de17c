"""Requests out of bytes: arrays of byte strings, and lines as a person types them ("inline commands")."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rediswire.decoding import as_integer
from rediswire.errors import ProtocolError
from rediswire.incoming import Incoming

__all__ = ["Request", "Requests"]

MOST_ARGUMENTS = 1024 * 1024
LIMIT = 16 * 1024 * 1024  # bytes of one request

Request = list[bytes]


class Requests:
    """``feed`` it what has come, and iterate over the requests that are whole by then."""

    __slots__ = ("_arguments", "_incoming", "_left", "_missing", "_size")

    def __init__(self) -> None:
        self._incoming = Incoming()
        self._arguments: Request = []
        self._missing = 0
        self._size: int | None = None  # of the argument that is awaited
        self._left = LIMIT

    def feed(self, data: bytes) -> None:
        self._incoming.feed(data)

    def __iter__(self) -> Iterator[Request]:
        """:raises ProtocolError: when it comes to what is no request; there is no way on from there."""
        while self._missing or self._begin():
            if not self._fill():
                return
            if self._arguments:
                yield self._arguments

    def _begin(self) -> bool:
        line = self._incoming.line()
        if line is None:
            return False
        self._left = LIMIT
        if line.startswith(b"*"):
            self._arguments = []
            self._missing = max(0, read_size(line[1:], MOST_ARGUMENTS, "invalid multibulk length"))
        else:
            self._arguments = split(line)
        return True

    def _fill(self) -> bool:
        """Whether nothing is missing any more."""
        while self._missing:
            argument = self._argument()
            if argument is None:
                return False
            self._arguments.append(argument)
            self._missing -= 1
        return True

    def _argument(self) -> bytes | None:
        if self._size is None:
            line = self._incoming.line()
            if line is None:
                return None
            if not line.startswith(b"$"):
                raise ProtocolError(f"expected '$', got '{line[:1].decode('latin-1')}'")
            self._size = read_size(line[1:], self._left, "invalid bulk length")
            if self._size < 0:
                raise ProtocolError("invalid bulk length")
            self._left -= self._size
        argument = self._incoming.block(self._size)
        if argument is not None:
            self._size = None
        return argument


def read_size(digits: bytes, most: int, complaint: str) -> int:
    try:
        size = as_integer(digits)
    except ValueError:
        raise ProtocolError(complaint) from None
    if size > most:
        raise ProtocolError(complaint)
    return size


def split(line: bytes) -> Request:
    try:
        return [word.encode("latin-1") for word in shlex.split(line.decode("latin-1"))]
    except ValueError:
        raise ProtocolError("unbalanced quotes in request") from None
