"""All that can be done with a stream and waits, for tests that do each of it on streams of several kinds."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import bridgeio

__all__ = ["BULK", "PIECES", "READS", "WRITES", "is_empty"]


async def _read_into(reader: bridgeio.Reader) -> bytes:
    target = bytearray(5)
    return bytes(target[: await reader.readinto(target)])


READS: dict[str, Callable[[bridgeio.Reader], Awaitable[bytes]]] = {
    "read": lambda reader: reader.read(),
    "read(n)": lambda reader: reader.read(100),
    "readline": lambda reader: reader.readline(),
    "readuntil": lambda reader: reader.readuntil(b"line"),
    "readexactly": lambda reader: reader.readexactly(14),
    "readinto": _read_into,
    "async for": lambda reader: reader.__anext__(),
}

PIECES = [b"a first ", b"line\n", b"a second line\n", b"end"]


BULK = bytes(range(256)) * 1024


async def _close(writer: bridgeio.Writer) -> None:
    writer.close()
    await writer.wait_closed()


async def _leave(writer: bridgeio.Writer) -> None:
    async with writer:
        await writer.drain()


WRITES: dict[str, Callable[[bridgeio.Writer], Coroutine[Any, Any, None]]] = {
    "drain": lambda writer: writer.drain(),
    "wait_closed": _close,
    "async with writer": _leave,
}


def is_empty(sock: socket.socket) -> bool:
    """Whether there is nothing to be received, nor the end."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False
