"""Chapter: writing. What a `Writer` promises: bounds, backpressure, half-close, closing, aborting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.peers import FAMILIES, Peer, free_address, peer_stream
from bridgeio.testing.resources import until

MEGABYTE = 1 << 20
MUCH = 5 * MEGABYTE  # more than the kernel keeps for a peer that does not read

pytestmark = pytest.mark.bridgeio

_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@_EACH_FAMILY
async def test_what_is_written_arrives(family: str, socket_folder: Path) -> None:
    """The peer receives what was written, in order, from any kind of buffer."""
    async with peer_stream(free_address(family, socket_folder)) as (_, writer, peer):
        writer.write(b"bytes ")
        writer.write(bytearray(b"bytearray "))
        writer.write(memoryview(b"a memoryview"))
        writer.writelines([b" and", b" three", b" pieces"])
        writer.write(b"")
        await writer.drain()
        assert await peer.receive(44) == b"bytes bytearray a memoryview and three pieces"[:44]


@_EACH_FAMILY
async def test_a_remainder_is_flushed_without_drain(family: str, socket_folder: Path) -> None:
    """What the kernel does not take at once goes out in the background, whatever the caller does."""
    async with peer_stream(free_address(family, socket_folder)) as (_, writer, peer):
        writer.write(_pattern(MUCH))
        assert writer.get_write_buffer_size() > 0
        assert await peer.receive(MUCH) == _pattern(MUCH)
        await until(lambda: writer.get_write_buffer_size() == 0)


async def test_the_caller_may_change_what_it_wrote() -> None:
    """``write`` has taken its bytes when it returns, also those that still wait."""
    async with peer_stream() as (_, writer, peer):
        mine = bytearray(b"x" * MUCH)
        writer.write(mine)
        mine[:] = b"y" * MUCH
        assert await peer.receive(MUCH) == b"x" * MUCH


@_EACH_FAMILY
async def test_drain_waits_for_the_peer(family: str, socket_folder: Path) -> None:
    """Above the high-water mark ``drain`` waits until the peer has taken enough."""
    async with peer_stream(free_address(family, socket_folder)) as (_, writer, peer):
        drained = []

        async def drain() -> None:
            await writer.drain()
            drained.append(writer.get_write_buffer_size())

        writer.write(bytes(MUCH))
        async with bridgeio.create_task_group() as group:
            group.start_soon(drain)
            for _ in range(20):
                await bridgeio.sleep(0.001)
            assert drained == []
            assert len(await peer.receive(MUCH)) == MUCH
        assert drained[0] <= 64 * 1024


async def test_drain_does_not_wait_below_the_mark() -> None:
    """Up to the high-water mark ``drain`` comes back at once, though the peer reads nothing."""
    async with peer_stream() as (_, writer, _peer):
        writer.write(bytes(MUCH))
        writer.set_write_buffer_limits(high=MUCH)
        await writer.drain()
        assert writer.get_write_buffer_size() > 0


async def test_unsensible_marks_are_refused() -> None:
    """``high`` must not be below ``low``, nor ``low`` below zero; and both are integers."""
    async with peer_stream() as (_, writer, _peer):
        with pytest.raises(ValueError, match="high"):
            writer.set_write_buffer_limits(high=1, low=2)
        with pytest.raises(ValueError, match="low"):
            writer.set_write_buffer_limits(high=1, low=-1)
        wrong: Any = "1"
        with pytest.raises(TypeError, match="high"):
            writer.set_write_buffer_limits(high=wrong)
        with pytest.raises(TypeError, match="low"):
            writer.set_write_buffer_limits(low=wrong)


async def test_a_write_above_the_limit_takes_nothing() -> None:
    """When more than ``write_limit`` bytes would wait, ``write`` raises and none of them is sent."""
    async with peer_stream() as (_, writer, peer):
        writer.write_limit = MUCH
        writer.write(bytes(MUCH))
        waiting = writer.get_write_buffer_size()
        with pytest.raises(bridgeio.WriteBufferFullError, match="drain"):
            writer.write(b"x" * (MUCH - waiting + 1))
        assert writer.get_write_buffer_size() == waiting
        writer.write(b"y" * (MUCH - waiting))
        writer.write_eof()
        assert await peer.receive_all() == bytes(MUCH) + b"y" * (MUCH - waiting)


async def test_many_tasks_write_whole_pieces() -> None:
    """Several tasks may write and drain: the bytes of one ``write`` stay together."""
    size, tasks, times = 50_000, 10, 8
    async with peer_stream() as (_, writer, peer), bridgeio.create_task_group() as group:

        async def write(mark: bytes) -> None:
            for _ in range(times):
                writer.write(mark * size)
                await writer.drain()

        for number in range(tasks):
            group.start_soon(write, bytes([65 + number]))
        received = await peer.receive(size * tasks * times)
        pieces = [received[start : start + size] for start in range(0, len(received), size)]
        assert all(len(set(piece)) == 1 for piece in pieces)


@_EACH_FAMILY
async def test_write_eof_ends_one_direction(family: str, socket_folder: Path) -> None:
    """After ``write_eof`` the peer reads everything and then the end, and can still write to us."""
    async with peer_stream(free_address(family, socket_folder)) as (reader, writer, peer):
        assert writer.can_write_eof()
        writer.write(_pattern(MUCH))
        writer.write_eof()
        writer.write_eof()
        with pytest.raises(bridgeio.StreamClosedError, match="write_eof"):
            writer.write(b"more")
        assert await peer.receive_all() == _pattern(MUCH)
        peer.send(b"answer")
        peer.close()
        assert await reader.read() == b"answer"


@_EACH_FAMILY
async def test_the_peers_end_leaves_our_direction_open(family: str, socket_folder: Path) -> None:
    """After the peer's half-close we still write, and it still reads: megabytes, with backpressure."""
    async with peer_stream(free_address(family, socket_folder)) as (reader, writer, peer):
        peer.half_close()
        assert await reader.read() == b""
        async with bridgeio.create_task_group() as group:
            group.start_soon(_write_all, writer, _pattern(MUCH))
            assert await peer.receive(MUCH) == _pattern(MUCH)


@_EACH_FAMILY
async def test_close_flushes(family: str, socket_folder: Path) -> None:
    """``close`` returns at once, sends all that waits, then ends the stream; ``wait_closed`` waits for that."""
    async with (
        peer_stream(free_address(family, socket_folder)) as (_, writer, peer),
        bridgeio.create_task_group() as group,
    ):
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await peer.receive_all())

        writer.write(_pattern(MUCH))
        assert not writer.is_closing()
        writer.close()
        writer.close()
        assert writer.is_closing()
        group.start_soon(receive)
        await writer.wait_closed()
        await writer.wait_closed()
        await until(lambda: received)
        assert received == [_pattern(MUCH)]


async def test_close_gives_up_after_linger() -> None:
    """A peer that never reads holds ``close`` up for ``linger`` seconds, then it sees a reset."""
    async with peer_stream() as (_, writer, peer):
        writer.write(bytes(MUCH))
        writer.linger = 0.05
        writer.close()
        with pytest.raises(ConnectionAbortedError, match="linger"):
            await writer.wait_closed()
        assert await peer.sees_reset()


async def test_abort_is_a_reset() -> None:
    """``abort`` drops what waits and resets the connection, at once."""
    async with peer_stream() as (_, writer, peer):
        writer.write(bytes(MUCH))
        writer.abort()
        assert writer.is_closing()
        assert writer.get_write_buffer_size() == 0
        await writer.wait_closed()
        assert await peer.sees_reset()


async def test_abort_while_closing() -> None:
    """``abort`` ends a ``close`` that still flushes."""
    async with peer_stream() as (_, writer, peer):
        writer.write(bytes(MUCH))
        writer.close()
        writer.abort()
        await writer.wait_closed()
        assert await peer.sees_reset()


@pytest.mark.parametrize("close", ["close", "abort"])
async def test_writing_after_close(close: str) -> None:
    """After ``close`` or ``abort`` a write is StreamClosedError; ``wait_closed`` is not."""
    async with peer_stream() as (_, writer, _peer):
        getattr(writer, close)()
        with pytest.raises(bridgeio.StreamClosedError, match="closed by this side"):
            writer.write(b"x")
        with pytest.raises(bridgeio.StreamClosedError, match="closed by this side"):
            writer.write_eof()
        await writer.wait_closed()


@pytest.mark.parametrize("use", ["write", "drain", "wait_closed"])
async def test_a_failed_flush_is_told(use: str) -> None:
    """When a flush in the background fails, the next ``write``, ``drain`` or ``wait_closed`` raises."""
    async with peer_stream() as (_, writer, peer):
        writer.write(bytes(MUCH))
        peer.reset()
        await until(lambda: writer._error is not None)
        with pytest.raises(ConnectionError):
            await _use(writer, use)
        writer.close()
        await writer.wait_closed()  # it was told, once is enough


async def test_a_peer_that_vanishes_fails_a_waiting_drain() -> None:
    """A task in ``drain`` hears that the connection broke."""
    async with peer_stream() as (_, writer, peer), bridgeio.create_task_group() as group:
        heard: list[ConnectionError] = []

        async def drain() -> None:
            try:
                await writer.drain()
            except ConnectionError as error:
                heard.append(error)

        writer.write(bytes(MUCH))
        group.start_soon(drain)
        await until(lambda: writer._drainers)
        peer.reset()
        await until(lambda: heard)
        assert isinstance(heard[0].__cause__, OSError)


async def test_aborting_ends_a_waiting_drain() -> None:
    """A task in ``drain`` hears that another one aborted the stream, and that bytes were dropped."""
    async with peer_stream() as (_, writer, _peer), bridgeio.create_task_group() as group:
        ended: list[str] = []

        async def drain() -> None:
            with pytest.raises(bridgeio.StreamClosedError, match=r"aborted by this side, with .* bytes unsent"):
                await writer.drain()
            ended.append("told")

        writer.write(bytes(MUCH))
        group.start_soon(drain)
        await until(lambda: writer._drainers)
        writer.abort()
        await until(lambda: ended)


async def test_async_with_closes() -> None:
    """``async with writer`` flushes and closes; an error of the block comes out as it is."""
    async with peer_stream() as (_, writer, peer):
        async with writer as same:
            assert same is writer
            writer.write(b"bye")
        assert writer.is_closing()
        assert await peer.receive_all() == b"bye"
    async with peer_stream() as (_, writer, peer):
        with pytest.raises(KeyError):
            async with writer:
                raise KeyError("mine")
        assert await peer.receive_all() == b""


async def test_the_end_of_a_run_waits_for_the_flush(backend: str) -> None:
    """``run`` does not return before a writer that was closed has flushed (here: is in nobody's hands)."""
    async with peer_stream() as (_, writer, peer), bridgeio.create_task_group() as group:
        host = current_host()
        writer.write(_pattern(MUCH))
        writer.close()
        assert writer in host.lingering, backend
        group.start_soon(_expect, peer, _pattern(MUCH))
        await until(lambda: writer not in host.lingering)


async def test_extra_info() -> None:
    """``get_extra_info`` knows the socket and both addresses, and gives the default for all else."""
    async with peer_stream() as (_, writer, peer):
        assert writer.get_extra_info("peername") == peer.sock.getsockname()
        assert writer.get_extra_info("sockname") == peer.sock.getpeername()
        assert writer.get_extra_info("socket").fileno() >= 0
        assert writer.get_extra_info("nonsense") is None
        assert writer.get_extra_info("nonsense", 3) == 3


async def _use(writer: bridgeio.Writer, how: str) -> None:
    if how == "write":
        writer.write(b"x")
    elif how == "drain":
        await writer.drain()
    else:
        writer.close()
        await writer.wait_closed()


async def _write_all(writer: bridgeio.Writer, data: bytes) -> None:
    for start in range(0, len(data), 100_000):
        writer.write(data[start : start + 100_000])
        await writer.drain()


async def _expect(peer: Peer, data: bytes) -> None:
    assert await peer.receive_all() == data


def _pattern(size: int) -> bytes:
    """Bytes in which a piece that is lost, doubled or moved shows."""
    numbers: Any = range(size // 8)
    return b"".join(number.to_bytes(8, "big") for number in numbers)


# A connection that breaks


async def _write_on(writer: bridgeio.Writer) -> None:
    while True:
        writer.write(b"into the void")
        await bridgeio.sleep(0.001)


async def test_a_reset_that_a_write_has_met() -> None:
    """The kernel tells of it once; a read behind that write raises all the same, and sees no orderly end."""
    async with peer_stream() as (reader, writer, raw):
        raw.send(b"half of it")
        assert await reader.readexactly(10) == b"half of it"
        raw.reset()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await _write_on(writer)
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await reader.read(10)


async def test_an_answer_of_a_peer_that_does_not_want_the_rest() -> None:
    """A peer that has answered and closed is read to its end, though writes to it fail."""
    async with peer_stream() as (reader, writer, raw):
        raw.send(b"enough")
        raw.close()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await _write_on(writer)
        assert await reader.read() == b"enough"


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
