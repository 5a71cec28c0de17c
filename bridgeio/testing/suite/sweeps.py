"""Chapter: sweeps. Every operation, cancelled at each of its waits: nothing is lost and nothing is left.

Each world here is one operation: what it needs, the operation itself, and what must hold after it,
whether it was cancelled or has finished. See `bridgeio.testing.sweep`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, peer_stream
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio

World = Callable[[], AbstractAsyncContextManager[Operation]]

# Reading


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


@asynccontextmanager
async def _fed(pieces: list[bytes]) -> AsyncIterator[bridgeio.Reader]:
    """A reader whose peer sends each piece as soon as somebody waits for it, and then the end."""
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(_feed, reader, peer, pieces)
        yield reader


async def _feed(reader: Any, peer: Peer, pieces: list[bytes]) -> None:
    source = reader._source
    for piece in pieces:
        await _until(lambda: source.reader is not None and _is_empty(source.sock))
        peer.send(piece)
    peer.half_close()


def _is_empty(sock: socket.socket) -> bool:
    """Whether there is nothing to be received, nor the end."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


async def _until(condition: Callable[[], object]) -> None:
    """As `bridgeio.testing.until`, for worlds that are made a thousand times."""
    while not condition():
        await bridgeio.sleep(0.0002)


@pytest.mark.parametrize("name", READS)
async def test_swept_reads(name: str) -> None:
    """A cancelled read has taken nothing: what was read before it and what is read after it is everything."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _fed(PIECES) as reader:
            got: list[bytes] = []

            async def operation() -> None:
                for _ in range(2):
                    got.append(await READS[name](reader))

            yield operation
            assert b"".join(got) + await reader.read() == b"".join(PIECES)

    await sweep(world, name=name)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
