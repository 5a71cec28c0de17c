"""Trio's streams for `bridgeio.wrap`, by the names that the core looks for."""

from __future__ import annotations

from typing import Any

import trio

__all__ = ["TrioStream"]

_TLS = {"peercert": "getpeercert", "cipher": "cipher", "compression": "compression"}


class TrioStream:
    """Any ``trio.abc.Stream``, with ``receive``, ``send`` and ``aclose``."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.send = stream.send_all
        self.aclose = stream.aclose
        if isinstance(stream, trio.abc.HalfCloseableStream):
            self.send_eof = stream.send_eof

    async def receive(self) -> bytes:
        return bytes(await self._stream.receive_some())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket at the bottom answers, and what TLS does once its hands are shaken."""
        if name in _TLS and isinstance(self._stream, trio.SSLStream):
            try:
                return getattr(self._stream, _TLS[name])()
            except trio.NeedHandshakeError:
                return default
        sock = self._socket()
        try:
            return default if sock is None else _ask(sock, name, default)
        except OSError:
            return default

    def _socket(self) -> Any:
        below: Any = self._stream
        while hasattr(below, "transport_stream"):
            below = below.transport_stream
        return below.socket if isinstance(below, trio.SocketStream) else None


def _ask(sock: Any, name: str, default: Any) -> Any:
    if name == "socket":
        return sock
    if name == "peername":
        return sock.getpeername()
    return sock.getsockname() if name == "sockname" else default
