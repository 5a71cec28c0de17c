"""A cancel at every wait over wrapped streams of each framework: no byte is lost, nothing stays open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.testing import sweep, sweeping
from bridgeio.testing.neighbours import soon
from bridgeio.testing.peers import Peer, is_over
from bridgeio.testing.stream_operations import PIECES, WRITES
from bridgeio.testing.sweeping import Operation
from bridgeio.testing.swept_streams import read_whole, written_whole
from native_streams import KINDS, backend_of, present, wrapped


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return present(request.param)


async def _feed(reader: Any, peer: Peer) -> None:
    """Each piece as soon as somebody waits for it, and then the end."""
    for piece in PIECES:
        await soon(lambda: reader._source.reader is not None)
        peer.send(piece)
    peer.half_close()


@pytest.mark.parametrize("name", ["read", "readline", "readexactly"])
def test_swept_reads(kind: str, name: str) -> None:
    """A cancelled read has taken nothing: what was read before it and what is read after it is everything."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with wrapped(kind) as (reader, writer, peer):
            async with read_whole(reader, name, partial(_feed, reader, peer)) as operation:
                yield operation
            writer.close()
            await writer.wait_closed()

    async def main() -> None:
        await sweep(world, name=f"{name} of {kind}")
        sweeping.sweeps_done()

    bridgeio.run(main, backend=backend_of(kind))


async def _receive(peer: Peer) -> bytes:
    received = await peer.receive_all()
    await is_over(peer)
    return received


@pytest.mark.parametrize("name", WRITES)
def test_swept_writes(kind: str, name: str) -> None:
    """What was written arrives, and the end behind it, though the task that waited was cancelled."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with (
            wrapped(kind) as (_, writer, peer),
            written_whole(writer, name, 32, partial(_receive, peer)) as operation,
        ):
            yield operation

    async def main() -> None:
        await sweep(world, name=f"{name} of {kind}")
        sweeping.sweeps_done()

    bridgeio.run(main, backend=backend_of(kind))
