"""A WebSocket's client that breaks the rules: a plain socket and frames made by hand."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from programs import PATIENCE

__all__ = ["close_code", "frame", "raw_websocket", "request"]

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
HEAD = (
    "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


def request(target: str, more: str = "") -> bytes:
    """The opening handshake; ``more`` are whole lines of headers."""
    return HEAD.format(target=target, more=more).encode()


def frame(opcode: int, payload: bytes, *, flags: int = 0x80, masked: bool = True) -> bytes:
    """A frame whose mask leaves everything as it is."""
    mask = 0x80 if masked else 0
    size = bytes([mask | len(payload)]) if len(payload) < 126 else bytes([mask | 126]) + len(payload).to_bytes(2)
    return bytes([flags | opcode]) + size + b"\0" * (4 if masked else 0) + payload


@contextmanager
def raw_websocket(port: int, target: str, *, buffer: int | None = None) -> Iterator[socket.socket]:
    """A connection after the opening handshake.

    :param buffer: how many bytes the kernel may keep for it.
    """
    with socket.socket() as client:
        if buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", port))
        client.sendall(request(target))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield client


def close_code(said: bytes) -> int:
    """The code of the closing frame that a server has said last."""
    head, _, rest = said.rpartition(b"\x88")
    return int.from_bytes(rest[1:3]) if head or rest else 0
