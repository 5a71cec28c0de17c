"""Chapter: sweeps of wrapped objects. A cancel loses nothing of what their own async methods are about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.neighbours import soon
from bridgeio.testing.pulling import MemoryStream, memory_pair
from bridgeio.testing.stream_operations import PIECES, READS, WRITES
from bridgeio.testing.sweeping import Operation, sweep
from bridgeio.testing.swept_streams import read_whole, written_whole

pytestmark = pytest.mark.bridgeio


async def _feed(reader: Any, far: MemoryStream) -> None:
    """Each piece as soon as somebody waits for it, and then the end."""
    for piece in PIECES:
        await soon(lambda: reader._source.reader is not None)
        await far.send(piece)
    await far.send_eof()


async def _collect(far: MemoryStream) -> bytes:
    got = bytearray()
    with suppress(bridgeio.EndOfStream):
        while True:
            got += await far.receive()
    return bytes(got)


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("name", READS)
async def test_swept_reads_of_a_wrapped_object(name: str) -> None:
    """A cancelled read has taken nothing: what was read before it and what is read after it is everything."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        near, far = memory_pair()
        reader, writer = bridgeio.wrap(near)
        async with read_whole(reader, name, partial(_feed, reader, far)) as operation:
            yield operation
        writer.close()
        await writer.wait_closed()

    await sweep(world, name=f"{name} of a wrapped object")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("name", WRITES)
async def test_swept_writes_to_a_wrapped_object(name: str) -> None:
    """What was written arrives, and the end behind it, though the task that waited was cancelled."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        near, far = memory_pair()
        _, writer = bridgeio.wrap(near)
        async with written_whole(writer, name, 4, partial(_collect, far)) as operation:
            yield operation
        await writer.wait_closed()

    await sweep(world, name=f"{name} of a wrapped object")


@pytest.mark.bridgeio_promise(2)
async def test_swept_serving_of_an_accepted_stream() -> None:
    """Whenever the handler is cancelled, the stream is closed after it."""

    async def shout(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        near, far = memory_pair()

        async def operation() -> None:
            await bridgeio.serve_stream(shout, near)

        await far.send(b"one\n")
        await far.send(b"two\n")
        await far.send_eof()
        yield operation
        await soon(lambda: near.closed)  # it goes on in the background

    await sweep(world, name="serve_stream")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
