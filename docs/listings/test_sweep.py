from contextlib import asynccontextmanager

import pytest

import bridgeio
from bridgeio.testing import Peer, RawListener, sweep

pytestmark = pytest.mark.bridgeio


class Messages:
    """Messages with their length before them. What a cancelled ``next`` has read, the next one knows."""

    def __init__(self, reader):
        self._reader = reader
        self._size = None  # a local variable instead, and a message would be lost

    async def next(self):
        if self._size is None:
            self._size = int.from_bytes(await self._reader.readexactly(2), "big")
        body = await self._reader.readexactly(self._size)
        self._size = None
        return body


async def send_in_pieces(peer: Peer):
    for piece in (b"\0", b"\5hel", b"lo\0", b"\5world"):
        await bridgeio.sleep(0.001)
        peer.send(piece)
    peer.half_close()


@asynccontextmanager
async def two_messages():
    with RawListener() as listener:
        reader, writer = await bridgeio.open_connection("127.0.0.1", listener.port)
        async with writer, bridgeio.create_task_group() as group:
            with await listener.accept() as peer:
                group.start_soon(send_in_pieces, peer)
                messages, got = Messages(reader), []

                async def operation():
                    while len(got) < 2:
                        got.append(await messages.next())

                yield operation  # it is cancelled somewhere, or finishes
                await operation()  # what it has not got must still be there
                assert got == [b"hello", b"world"]


async def test_no_message_is_lost():
    await sweep(two_messages)
