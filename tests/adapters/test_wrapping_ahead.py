"""What is ahead of a wrapped stream's reader, and of its peer: bounded, and bytes that were there before come first."""

from __future__ import annotations

import pytest

import bridgeio
from bridgeio.testing.neighbours import soon
from bridgeio.testing.peers import Peer
from native_streams import KINDS, native_stream, on_each_kind, present, wrapped

MEGABYTE = 1 << 20
MUCH = 20 * MEGABYTE
PATTERN = bytes(range(256)) * 4096


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return present(request.param)


@on_each_kind
async def test_what_came_before(kind: str) -> None:
    """Bytes that came before the stream was wrapped are the first, whoever has them."""
    async with native_stream(kind) as (native, peer):
        peer.send(b"early\n")
        if not kind.startswith("Twisted"):  # which hands everything to the protocol that is there
            await bridgeio.sleep(0.01)  # what does not come into a buffer of the framework's waits in the kernel's
        reader, writer = bridgeio.wrap(native)
        peer.send(b"late\n")
        assert [await reader.readline() for _ in range(2)] == [b"early\n", b"late\n"]
        writer.abort()


@on_each_kind
async def test_backpressure(kind: str) -> None:
    """What the peer does not take waits in the Writer, not in the native stream; ``drain`` waits with it."""
    async with wrapped(kind) as (_, writer, peer):
        writer.write(bytes(MUCH))
        await bridgeio.sleep(0)
        assert writer.get_write_buffer_size() > MUCH // 2
        drained = bridgeio.Event()

        async def drain() -> None:
            await writer.drain()
            drained.set()

        async with bridgeio.create_task_group() as group:
            group.start_soon(drain)
            await soon(lambda: writer._drainers)
            assert not drained.is_set()
            assert len(await peer.receive(MUCH)) == MUCH
        with pytest.raises(bridgeio.WriteBufferFullError):
            writer.write(bytes(65 * MEGABYTE))


@on_each_kind
async def test_a_flood_is_stopped(kind: str) -> None:
    """A peer that sends to a reader that does not read is stopped, and nothing of it is lost."""
    async with wrapped(kind) as (reader, _, peer):
        sent = await _flooded(peer, 0)
        assert await reader.readexactly(sent) == _pattern(sent)
        peer.send(b"on\n")
        assert await reader.readline() == b"on\n"


@on_each_kind
async def test_a_flood_before_it_was_wrapped(kind: str) -> None:
    """A peer that has filled the native stream's own buffer before is stopped as well, and nothing is lost."""
    async with native_stream(kind) as (native, peer):
        if kind.startswith("Twisted"):
            native.pauseProducing()
        sent = await _flooded(peer, 0)
        reader, writer = bridgeio.wrap(native)
        sent += await _flooded(peer, sent)
        assert await reader.readexactly(sent) == _pattern(sent)
        writer.abort()


async def _flooded(peer: Peer, start: int) -> int:
    """Sends until nobody takes more; how many bytes that were."""
    sent, idle = 0, 0
    while idle < 50:
        taken = peer.send_some(PATTERN[(start + sent) % len(PATTERN) :])
        sent += taken
        idle = 0 if taken else idle + 1
        assert sent < 64 * MEGABYTE
        await bridgeio.sleep(0.001)
    return sent


def _pattern(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]
