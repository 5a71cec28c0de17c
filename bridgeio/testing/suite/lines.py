"""Chapter: lines. Many that come at once, and reads of every other kind between them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

import bridgeio
from bridgeio.testing.peers import FAMILIES, free_address, peer_stream

pytestmark = pytest.mark.bridgeio

_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@_EACH_FAMILY
async def test_lines(family: str, socket_folder: Path) -> None:
    """``readline`` keeps the newline; the last line may lack it; then comes ``b""``."""
    async with peer_stream(free_address(family, socket_folder)) as (reader, _, peer):
        peer.send(b"one\n\ntwo\nrest")
        peer.half_close()
        assert [await reader.readline() for _ in range(5)] == [b"one\n", b"\n", b"two\n", b"rest", b""]


@_EACH_FAMILY
async def test_async_for_gives_lines(family: str, socket_folder: Path) -> None:
    """Iterating over a reader gives its lines, up to the end."""
    async with peer_stream(free_address(family, socket_folder)) as (reader, _, peer):
        peer.send(b"one\ntwo\nrest")
        peer.half_close()
        assert [line async for line in reader] == [b"one\n", b"two\n", b"rest"]


@pytest.mark.parametrize("seed", range(5))
async def test_reads_of_every_kind_take_turns(seed: int) -> None:
    """Whatever has read before, and with whatever limit: the next read begins at the next byte."""
    random = Random(seed)
    rest = b"".join(b"x" * random.choice((0, 1, 5, 60, 60, 60, 5000)) + b"\n" for _ in range(600))
    async with peer_stream(limit=10_000) as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(peer.send_all, rest)
        while rest:
            how, count = random.choice("llllllrexidm"), min(random.choice((1, 7, 200)), len(rest))
            line = rest[: rest.index(b"\n") + 1]
            if how == "l":
                data = await reader.readline()
                assert data == line
            elif how == "r":
                data = await reader.read(count)
                assert 0 < len(data) <= count
            elif how == "e":
                data = await reader.readexactly(count)
            elif how == "x":
                data = await reader.readuntil(b"x\n") if b"x\n" in rest else b""
                assert data == rest[: rest.find(b"x\n") + 2] or not data
            elif how == "i":
                filled = bytearray(count)
                data = bytes(filled[: await reader.readinto(filled)])
            elif how == "d":
                assert await reader.discard_until(b"\n") == len(line)
                data = line
            else:
                reader.limit, data = random.choice((6000, 10_000)), b""
                assert not reader.at_eof()
            assert rest.startswith(data)
            rest = rest[len(data) :]
        peer.half_close()
        assert await reader.readline() == b""
        assert reader.at_eof()


async def test_what_follows_the_lines_of_one_chunk() -> None:
    """Lines that came at once are read one by one: what follows is everybody's, a lower limit holds for it, and it is
    there for TLS to look at."""
    async with peer_stream() as (reader, _, peer):
        peer.send(b"one\ntwo\nthree\nfour\nlonger\nlast\n")
        assert [await reader.readline() for _ in range(2)] == [b"one\n", b"two\n"]
        assert await reader.read(2) == b"th"
        assert [await reader.readline() for _ in range(2)] == [b"ree\n", b"four\n"]
        reader.limit = 5
        with pytest.raises(bridgeio.LimitOverrunError):
            await reader.readline()
        reader.limit = 6
        assert await reader.readline() == b"longer\n"
        with reader.handing_over():
            with pytest.raises(bridgeio.BusyError):
                await reader.readline()
            assert reader.take_buffered() == b"last\n"


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
