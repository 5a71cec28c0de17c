"""Tornado's IOStream for `bridgeio.wrap`.

Rule 1: one ``read_bytes`` is outstanding while somebody wants bytes, and is never cancelled: a cancelled one leaves
an IOStream that can read no more.
Rule 2: one write at a time, at most, is in the IOStream's own buffer, which ``close`` would drop.
"""

from __future__ import annotations

import socket
import struct
from asyncio import Future
from contextlib import suppress
from typing import Any, cast

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from bridgeio.contract import Feed
from bridgeio.errors import BusyError
from bridgeio.limits import CHUNK_MAX

__all__ = ["TornadoStream"]

_TLS = {"peercert": "getpeercert", "cipher": "cipher", "compression": "compression"}


class TornadoStream:
    """A `bridgeio.contract.NativeStream`. The IOStream's close callback stays its owner's."""

    can_end_write = False

    def __init__(self, stream: IOStream) -> None:
        self._stream = stream
        self._feed: Feed
        self._wanted = False
        self._reading: Future[bytes] | None = None
        self._closing = False
        self.peer = self._ask_socket("getpeername") or self._ask_socket("getsockname")

    def start(self, feed: Feed) -> None:
        if self._stream.reading():
            raise BusyError("somebody is already reading from the IOStream")
        self._feed = feed
        self._stream.max_write_buffer_size = None  # it has one write at a time
        self.resume()

    def write(self, data: bytes) -> bool:
        try:
            written = self._stream.write(data)
        except StreamClosedError as error:
            self._lost(error)
            return False
        if self._stream.closed():  # what it heard of the system is no exception of the call
            self._lost(StreamClosedError(self._stream.error))
            return False
        if not self._stream.writing():
            return True
        written.add_done_callback(self._written)
        return False

    def pause(self) -> None:
        self._wanted = False

    def resume(self) -> None:
        self._wanted = True
        if self._reading is None and not self._closing:
            try:
                self._reading = reading = cast("Future[bytes]", self._stream.read_bytes(CHUNK_MAX, partial=True))
            except StreamClosedError as error:
                self._lost(error)
            else:
                reading.add_done_callback(self._came)

    def end_write(self) -> None:
        """An IOStream has no such thing."""

    def close(self) -> None:
        self._closing = True
        if not self._stream.writing():
            self._end()

    def abort(self) -> None:
        sock: Any = self._stream.socket
        with suppress(OSError, AttributeError):  # it is closed already
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._closing = True
        self._end()

    def extra(self, name: str, default: Any) -> Any:
        if name == "socket":
            return self._stream.socket
        if name == "peername":
            return self.peer
        if name == "sockname":
            return self._ask_socket("getsockname") or default
        if isinstance(self._stream, SSLIOStream):
            if name == "ssl_object":
                return self._stream.socket
            if name in _TLS:
                return self._ask_socket(_TLS[name]) or default
        return default

    def _ask_socket(self, question: str) -> Any:
        try:
            return getattr(self._stream.socket, question)()
        except (OSError, ValueError, AttributeError):  # it is closed, or has not shaken hands
            return None

    def _came(self, reading: Future[bytes]) -> None:
        self._reading = None
        try:
            data = reading.result()
        except StreamClosedError as error:
            self._lost(error)
            return
        self._feed.received(data)
        if self._wanted:
            self.resume()

    def _written(self, writing: Future[None]) -> None:
        if self._closing:
            self._end()
        elif writing.exception() is None:
            self._feed.has_room()
        else:
            self._lost(writing.exception())

    def _end(self) -> None:
        self._stream.close()
        self._feed.lost()

    def _lost(self, error: Any) -> None:
        """A peer that has closed its side has closed the stream, as Tornado sees it."""
        self._closing = True
        real = getattr(error, "real_error", None)
        self._feed.lost(real if isinstance(real, OSError) else None)
