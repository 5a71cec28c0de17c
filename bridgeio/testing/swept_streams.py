"""What a swept read and a swept write have to keep, on streams of any kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import bridgeio
from bridgeio.testing.neighbours import soon
from bridgeio.testing.stream_operations import BULK, PIECES, READS, WRITES
from bridgeio.testing.sweeping import Operation

__all__ = ["read_whole", "written_whole"]


@asynccontextmanager
async def read_whole(
    reader: bridgeio.Reader, name: str, feed: Callable[[], Coroutine[Any, Any, None]]
) -> AsyncIterator[Operation]:
    """Two reads of `READS`, cancelled or not: what they have read and what is read after them is everything.

    :param feed: sends each of `PIECES` when somebody waits for it, and then the end.
    """
    async with bridgeio.create_task_group() as group:
        group.start_soon(feed)
        got: list[bytes] = []

        async def operation() -> None:
            for _ in range(2):
                got.append(await READS[name](reader))

        yield operation
        assert b"".join(got) + await reader.read() == b"".join(PIECES)


@asynccontextmanager
async def written_whole(
    writer: bridgeio.Writer, name: str, times: int, receive: Callable[[], Awaitable[bytes]]
) -> AsyncIterator[Operation]:
    """An operation of `WRITES`, cancelled or not: what was written before it arrives, and the end behind it.

    :param times: as often `BULK` is written, which must be more than goes at once.
    :param receive: what the other side gets, to the end.
    """
    async with bridgeio.create_task_group() as group:
        received: list[bytes] = []

        async def take() -> None:
            raw: Any = writer
            await soon(lambda: raw._drainers or writer.is_closing())
            received.append(await receive())

        writer.set_write_buffer_limits(high=0)
        for _ in range(times):
            writer.write(BULK)
        assert writer.get_write_buffer_size() > 0
        group.start_soon(take)
        yield partial(WRITES[name], writer)
        writer.close()
        await soon(lambda: bool(received))
        assert received == [BULK * times]
