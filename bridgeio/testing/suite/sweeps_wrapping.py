"""Chapter: sweeps of wrapped objects. A cancel loses nothing of what their own async methods are about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.neighbours import soon
from bridgeio.testing.pulling import MemoryStream, memory_pair
from bridgeio.testing.stream_operations import BULK, PIECES, READS, WRITES
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio


async def _feed(reader: Any, far: MemoryStream) -> None:
    """Each piece as soon as somebody waits for it, and then the end."""
    for piece in PIECES:
        await soon(lambda: reader._source.reader is not None)
        await far.send(piece)
    await far.send_eof()


async def _collect(far: MemoryStream, got: list[bytes]) -> None:
    try:
        while True:
            got.append(await far.receive())
    except bridgeio.EndOfStream:
        got.append(b"")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
@pytest.mark.parametrize("name", READS)
async def test_swept_reads_of_a_wrapped_object(name: str) -> None:
    """A cancelled read has taken nothing: what was read before it and what is read after it is everything."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        near, far = memory_pair()
        reader, writer = bridgeio.wrap(near)
        async with bridgeio.create_task_group() as group:
            group.start_soon(_feed, reader, far)
            got: list[bytes] = []

            async def operation() -> None:
                for _ in range(2):
                    got.append(await READS[name](reader))

            yield operation
            assert b"".join(got) + await reader.read() == b"".join(PIECES)
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
        async with bridgeio.create_task_group() as group:
            got: list[bytes] = []

            async def receive() -> None:
                raw: Any = writer
                await soon(lambda: raw._drainers or writer.is_closing())
                await _collect(far, got)

            writer.set_write_buffer_limits(high=0)
            for _ in range(4):
                writer.write(BULK)
            assert writer.get_write_buffer_size() > 0
            group.start_soon(receive)
            yield partial(WRITES[name], writer)
            writer.close()
            await soon(lambda: got[-1:] == [b""])
            assert b"".join(got) == BULK * 4
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
