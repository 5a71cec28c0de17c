"""Sweeps of `bridgeio.blocking`: calls from synchronous code of a task, which are cancelled with that task.

Outside of every task there is no scope around such a call, and nobody who could cancel it but a scope within
the function that it runs, which is swept as such.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import bridgeio
from bridgeio import blocking
from bridgeio.testing.peers import RawListener
from bridgeio.testing.stream_operations import PIECES
from bridgeio.testing.suite import sweeps, sweeps_servers
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio("threads", "gevent")

READS: dict[str, Callable[[bridgeio.Reader, list[bytes]], None]] = {
    "blocking(reader.readline)": lambda reader, got: got.append(blocking(reader.readline)()),
    "for line in blocking(aiter)": lambda reader, got: got.extend(blocking(reader.__aiter__)()),
}


@pytest.mark.parametrize("name", READS)
async def test_swept_blocking_reads(name: str) -> None:
    """What a blocking read had not returned when its task was cancelled is still there to be read."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with sweeps._fed(PIECES) as reader:
            got: list[bytes] = []

            async def operation() -> None:
                READS[name](reader, got)

            yield operation
            assert b"".join(got) + await reader.read() == b"".join(PIECES)

    swept = await sweep(world, name=name)
    assert swept.waits > 0


async def test_a_swept_blocking_connect() -> None:
    """Either the synchronous caller has its connection, or there is none."""
    with RawListener(backlog=1000) as listener:

        @asynccontextmanager
        async def world() -> AsyncIterator[Operation]:
            kept: list[bridgeio.Writer] = []

            async def operation() -> None:
                kept.append(blocking(bridgeio.open_connection)(*listener.address)[1])

            yield operation
            for writer in kept:
                writer.abort()

        swept = await sweep(world, name="blocking(open_connection)")
    assert swept.waits > 0


async def test_a_swept_block_of_a_blocking_server() -> None:
    """A ``with`` block of synchronous code that is cancelled at a call inside leaves the server closed."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with sweeps_servers._client() as client:

            async def operation() -> None:
                with blocking(bridgeio.serve)(sweeps_servers._echo, "127.0.0.1", grace=0.0) as server:
                    blocking(sweeps_servers._talk)(server, client)

            yield operation

    swept = await sweep(world, name="with blocking(serve)")
    assert swept.waits > 0


async def test_swept_blocking_ticks() -> None:
    """A loop over ticks of synchronous code ends where its task is cancelled, and leaves no timer."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        seen: list[int] = []

        async def operation() -> None:
            for number in blocking(bridgeio.every)(0.0003):
                seen.append(number)
                if len(seen) == 3:
                    break

        yield operation
        assert seen == sorted(set(seen))

    swept = await sweep(world, name="for number in blocking(every)")
    assert swept.waits > 0
