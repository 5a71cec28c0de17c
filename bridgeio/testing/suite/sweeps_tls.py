"""Chapter: sweeps of TLS. No record is read in part, and no stream is left half encrypted."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
import bridgeio.lowlevel
from bridgeio.testing.neighbours import soon
from bridgeio.testing.peers import Peer, RawListener, free_address, is_over, open_to, peer_stream
from bridgeio.testing.stream_operations import PIECES, READS, WRITES, is_empty
from bridgeio.testing.sweeping import Operation, sweep
from bridgeio.testing.swept_streams import read_whole, written_whole
from bridgeio.testing.tls_peers import NAME, TlsPeer, client_context, server_context

pytestmark = pytest.mark.bridgeio

Connect = Callable[[Any], Awaitable[tuple[bridgeio.Reader, bridgeio.Writer]]]


class Contexts:
    """Made once: a world is made a thousand times."""

    def __init__(self) -> None:
        self.server = server_context()
        self.client = client_context()

    def peer(self, raw: Peer, *, server_side: bool) -> TlsPeer:
        return TlsPeer(raw, self.server if server_side else self.client, server_side=server_side)


async def _answer(peer: TlsPeer) -> None:
    """Shakes hands with a side that may be cancelled at any time, and waits for its end."""
    with suppress(ssl.SSLError, ConnectionError):
        await peer.shake_hands()
        await peer.receive_all()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
async def test_a_swept_start_tls(server_side: bool) -> None:
    """A stream is encrypted, or as plain as before, or closed: never anything in between."""
    contexts = Contexts()
    context, name = (contexts.server, None) if server_side else (contexts.client, NAME)

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with peer_stream() as (_, writer, raw), bridgeio.create_task_group() as group:
            group.start_soon(_answer, contexts.peer(raw, server_side=not server_side))
            begun = False

            async def operation() -> None:
                nonlocal begun
                await bridgeio.lowlevel.checkpoint_if_cancelled()
                begun = True
                await writer.start_tls(context, server_side=server_side, server_hostname=name)

            yield operation
            is_encrypted = writer.get_extra_info("ssl_object") is not None
            assert writer.is_closing() == (begun and not is_encrypted)
            if not writer.is_closing():
                writer.write(b"x")
            writer.close()

    await sweep(world, name="start_tls")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("family", ["ipv4", "unix"])
async def test_a_swept_encrypted_connect(family: str, socket_folder: Path) -> None:
    """A connect that was cancelled, while it connects or shakes hands, leaves no socket."""
    contexts = Contexts()
    with RawListener(free_address(family, socket_folder), backlog=1000) as listener:

        async def serve_one() -> None:
            with await listener.accept() as raw:
                await _answer(contexts.peer(raw, server_side=True))

        @asynccontextmanager
        async def world() -> AsyncIterator[Operation]:
            kept: list[bridgeio.Writer] = []

            async def operation() -> None:
                kept.append((await open_to(listener.address, ssl=contexts.client, server_hostname=NAME))[1])

            async with bridgeio.create_task_group() as group:
                group.start_soon(serve_one)
                yield operation
                for writer in kept:
                    writer.close()
                group.cancel_scope.cancel()

        await sweep(world, name=f"connect {family} with TLS")


@asynccontextmanager
async def _encrypted(contexts: Contexts) -> AsyncIterator[tuple[bridgeio.Reader, bridgeio.Writer, TlsPeer]]:
    async with peer_stream() as (reader, writer, raw):
        peer = contexts.peer(raw, server_side=True)
        async with bridgeio.create_task_group() as group:
            group.start_soon(peer.shake_hands)
            await writer.start_tls(contexts.client, server_hostname=NAME)
        yield reader, writer, peer


async def _feed(reader: Any, peer: TlsPeer) -> None:
    """Each piece as soon as somebody waits for it, each cut in two somewhere in its record."""
    below = reader._source._below
    for piece in PIECES:
        peer.tls.write(piece)
        record = peer.unsent()
        for part in (record[:7], record[7:]):
            await soon(lambda: below.reader is not None and is_empty(below.sock))
            peer.peer.send(part)
    await peer.say_goodbye()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("name", READS)
async def test_swept_encrypted_reads(name: str) -> None:
    """A cancelled read has taken no record: what was read before it and what is read after it is everything."""
    contexts = Contexts()

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with (
            _encrypted(contexts) as (reader, _, peer),
            read_whole(reader, name, partial(_feed, reader, peer)) as operation,
        ):
            yield operation

    await sweep(world, name=f"{name} with TLS")


async def _receive(peer: TlsPeer) -> bytes:
    received = await peer.receive_all()
    await is_over(peer.peer)
    return received


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("name", WRITES)
async def test_swept_encrypted_writes(name: str) -> None:
    """What was written arrives, and the closing message behind it, though the task that waited was cancelled."""
    contexts = Contexts()

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with (
            _encrypted(contexts) as (_, writer, peer),
            written_whole(writer, name, 16, partial(_receive, peer)) as operation,
        ):
            yield operation

    await sweep(world, name=f"{name} with TLS")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
