"""Chapter: sweeps of streams. Each operation, cancelled at each of its waits: no byte is lost, nothing stays open.

Each world here is one operation: what it needs, the operation itself, and what must hold after it,
whether it was cancelled or has finished. See `bridgeio.testing.sweep`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.contract import AddressInfo
from bridgeio.testing.neighbours import soon
from bridgeio.testing.peers import FAMILIES, Peer, RawListener, free_address, open_to, peer_stream
from bridgeio.testing.stream_operations import BULK, PIECES, READS, WRITES, is_empty
from bridgeio.testing.sweeping import Operation, sweep
from bridgeio.testing.swept_streams import read_whole

pytestmark = pytest.mark.bridgeio

Connect = Callable[[], Awaitable[tuple[bridgeio.Reader, bridgeio.Writer]]]

# Reading


@asynccontextmanager
async def _fed(pieces: list[bytes]) -> AsyncIterator[bridgeio.Reader]:
    """A reader whose peer sends each piece as soon as somebody waits for it, and then the end."""
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(_feed, reader, peer, pieces)
        yield reader


async def _feed(reader: Any, peer: Peer, pieces: list[bytes]) -> None:
    source = reader._source
    for piece in pieces:
        await soon(lambda: source.reader is not None and is_empty(source.sock))
        peer.send(piece)
    peer.half_close()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("name", READS)
async def test_swept_reads(name: str) -> None:
    """A cancelled read has taken nothing: what was read before it and what is read after it is everything."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with (
            peer_stream() as (reader, _, peer),
            read_whole(reader, name, partial(_feed, reader, peer, PIECES)) as operation,
        ):
            yield operation

    await sweep(world, name=name)


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_discard() -> None:
    """``discard_until``, called again after a cancel, skips nothing behind the separator."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _fed([b"skip", b"ped", b"\r", b"\nkept\n"]) as reader:
            discarded = False

            async def operation() -> None:
                nonlocal discarded
                await reader.discard_until(b"\r\n")
                discarded = True

            yield operation
            if not discarded:
                await reader.discard_until(b"\r\n")
            assert await reader.read() == b"kept\n"

    await sweep(world, name="discard_until")


# Writing


class Stuffed:
    """A writer with more bytes than the kernel takes, and a peer that reads once somebody waits for that.

    :ivar received: what the peer got.
    """

    def __init__(self, writer: bridgeio.Writer, peer: Peer) -> None:
        self.writer: Any = writer
        self.received = bytearray()
        self._peer = peer
        self._ended = bridgeio.Event()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
        writer.set_write_buffer_limits(high=0)
        writer.write(BULK)
        assert writer.get_write_buffer_size() > 0

    async def receive(self) -> None:
        await soon(lambda: self.writer._drainers or self.writer.is_closing())
        while data := await self._peer.receive_some(1 << 20):
            self.received += data
        self._ended.set()

    async def check(self) -> None:
        """After the operation: everything arrives, whether or not it was waited for."""
        self.writer.close()
        await self._ended.wait()
        assert self.received == BULK
        await self.writer.wait_closed()


@asynccontextmanager
async def _stuffed() -> AsyncIterator[Stuffed]:
    async with peer_stream() as (_, writer, peer), bridgeio.create_task_group() as group:
        stuffed = Stuffed(writer, peer)
        group.start_soon(stuffed.receive)
        yield stuffed
        await stuffed.check()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("name", WRITES)
async def test_swept_writes(name: str) -> None:
    """What was written arrives, all of it and once, though the task that waited for that was cancelled."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _stuffed() as stuffed:
            yield lambda: WRITES[name](stuffed.writer)

    await sweep(world, name=name)


# Connecting


async def _connect_and_keep(connect: Connect, kept: list[bridgeio.Writer]) -> None:
    kept.append((await connect())[1])


async def _sweep_connecting(connect: Connect, name: str) -> None:
    """Either there is a connection, or there is nothing; the sweep itself counts descriptors."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        kept: list[bridgeio.Writer] = []
        yield lambda: _connect_and_keep(connect, kept)
        for writer in kept:
            writer.abort()

    await sweep(world, name=name)


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("family", FAMILIES)
async def test_a_swept_connect(family: str, socket_folder: Path) -> None:
    """A connect that was cancelled leaves no socket, of whatever family."""
    with RawListener(free_address(family, socket_folder), backlog=1000) as listener:
        await _sweep_connecting(lambda: open_to(listener.address), f"connect {family}")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_connect_to_a_full_queue(socket_folder: Path) -> None:
    """A UNIX server that is busy is asked again and again; a cancel in between leaves no socket."""
    with RawListener(str(socket_folder / "s"), backlog=0) as listener:

        @asynccontextmanager
        async def world() -> AsyncIterator[Operation]:
            kept: list[bridgeio.Writer] = []
            started = bridgeio.Event()

            async def operation() -> None:
                started.set()
                kept.append((await open_to(listener.address))[1])

            async def make_room() -> None:
                await started.wait()
                (await listener.accept()).close()

            with Peer.connect(listener.address):
                async with bridgeio.create_task_group() as group:
                    group.start_soon(make_room)
                    yield operation
            for writer in kept:
                writer.abort()
                (await listener.accept()).close()

        await sweep(world, name="connect to a full queue")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
async def test_swept_happy_eyeballs() -> None:
    """Several addresses, of which one is silent, one refuses, and one answers: no loser and no winner leaks."""
    with RawListener(backlog=0) as silent, RawListener(backlog=1000) as listener:
        await silent.fill_queue()
        resolver = _knows(("127.0.0.1", silent.port), nobody(), ("127.0.0.1", listener.port))
        await _sweep_connecting(
            lambda: bridgeio.open_connection("a.name", 1, resolver=resolver, happy_eyeballs_delay=0.002),
            "happy eyeballs",
        )


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_lookup() -> None:
    """A cancel while the backend's own name service is asked."""
    with RawListener(backlog=1000) as listener:
        await _sweep_connecting(lambda: bridgeio.open_connection("localhost", listener.port), "connect by name")


def nobody() -> tuple[str, int]:
    """An address where nobody listens."""
    with RawListener() as listener:
        address: tuple[str, int] = listener.address
        return address


def _knows(*addresses: tuple[str, int]) -> Any:
    """A name service that takes its time."""

    async def resolve(host: str | None, port: int | str | None, family: int, flags: int) -> list[AddressInfo]:
        await bridgeio.sleep(0.0001)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]

    return resolve


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
