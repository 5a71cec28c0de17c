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
from bridgeio.testing.stream_operations import BULK, PIECES, READS, WRITES
from bridgeio.testing.sweeping import Operation
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
        async with wrapped(kind) as (reader, writer, peer), bridgeio.create_task_group() as group:
            group.start_soon(_feed, reader, peer)
            got: list[bytes] = []

            async def operation() -> None:
                for _ in range(2):
                    got.append(await READS[name](reader))

            yield operation
            assert b"".join(got) + await reader.read() == b"".join(PIECES)
            writer.close()
            await writer.wait_closed()

    async def main() -> None:
        await sweep(world, name=f"{name} of {kind}")
        sweeping.sweeps_done()

    bridgeio.run(main, backend=backend_of(kind))


@pytest.mark.parametrize("name", WRITES)
def test_swept_writes(kind: str, name: str) -> None:
    """What was written arrives, and the end behind it, though the task that waited was cancelled."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with wrapped(kind) as (_, writer, peer), bridgeio.create_task_group() as group:
            received: list[bytes] = []

            async def receive() -> None:
                raw: Any = writer
                await soon(lambda: raw._drainers or writer.is_closing())
                received.append(await peer.receive_all())
                await is_over(peer)

            writer.set_write_buffer_limits(high=0)
            for _ in range(32):
                writer.write(BULK)
            assert writer.get_write_buffer_size() > 0
            group.start_soon(receive)
            yield partial(WRITES[name], writer)
            writer.close()
            await soon(lambda: bool(received))
            assert received == [BULK * 32]

    async def main() -> None:
        await sweep(world, name=f"{name} of {kind}")
        sweeping.sweeps_done()

    bridgeio.run(main, backend=backend_of(kind))
