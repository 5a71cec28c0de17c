"""Chapter: reading. What a `Reader` promises over TCP (IPv4, IPv6) and UNIX sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.buffers import ReceiveBuffer
from bridgeio.descriptors import DescriptorSource
from bridgeio.registry import current_task
from bridgeio.testing.peers import FAMILIES, Peer, free_address, peer_stream
from bridgeio.testing.resources import until

MEGABYTE = 1 << 20

pytestmark = pytest.mark.bridgeio

_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@_EACH_FAMILY
async def test_read_gives_what_has_come(family: str, socket_folder: Path) -> None:
    """``read(n)`` ends with the first bytes, at most ``n``, and leaves the rest for the next read."""
    async with peer_stream(free_address(family, socket_folder)) as (reader, _, peer):
        peer.send(b"hello")
        assert await reader.read(2) == b"he"
        assert await reader.read(100) == b"llo"


@_EACH_FAMILY
async def test_read_waits_for_the_peer(family: str, socket_folder: Path) -> None:
    """A read of a silent stream waits, and goes on when the peer speaks."""
    async with (
        peer_stream(free_address(family, socket_folder)) as (reader, _, peer),
        bridgeio.create_task_group() as group,
    ):
        got: list[bytes] = []

        async def read() -> None:
            got.append(await reader.read(10))

        group.start_soon(read)
        for _ in range(3):
            await bridgeio.sleep(0)
        assert got == []
        peer.send(b"now")
        await until(lambda: got)
        assert got == [b"now"]


@_EACH_FAMILY
async def test_messages_as_long_as_what_is_asked_for(
    family: str, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read gives at most ``n``, however many were just filled, and no byte is lost. When some were, the kernel
    is not asked in vain any more."""
    nothing_now, asked_in_vain = DescriptorSource.nothing_now, []

    def count(source: DescriptorSource) -> None:
        asked_in_vain.append(source)
        nothing_now(source)

    monkeypatch.setattr(DescriptorSource, "nothing_now", count)
    async with (
        peer_stream(free_address(family, socket_folder)) as (reader, _, peer),
        bridgeio.create_task_group() as group,
    ):
        got: list[bytes] = []
        missing = bytearray()

        async def read() -> None:
            while data := await reader.read(8):
                got.append(data)
                assert missing.startswith(data)
                del missing[: len(data)]

        group.start_soon(read)
        for message in (*10 * [b"filled.."], b"now there are more", *10 * [b"filled.."], b"rest"):
            for _ in range(3):
                await bridgeio.sleep(0)
            missing.extend(message)
            peer.send(message)
            await until(lambda: not missing)
        peer.half_close()
    assert max(map(len, got)) == 8
    assert len(asked_in_vain) < 8


@_EACH_FAMILY
async def test_end_of_stream(family: str, socket_folder: Path) -> None:
    """After the peer's end every read gives ``b""``, again and again, and ``at_eof`` says so only then."""
    async with peer_stream(free_address(family, socket_folder)) as (reader, _, peer):
        peer.send(b"last")
        peer.half_close()
        assert not reader.at_eof()
        assert await reader.readexactly(4) == b"last"
        assert await reader.read(1) == b""
        assert reader.at_eof()
        assert await reader.read(1) == await reader.readline() == await reader.read() == b""


@_EACH_FAMILY
async def test_data_and_end_in_one_segment(family: str, socket_folder: Path) -> None:
    """Bytes and the end that come together are both seen, in this order (no event follows the first)."""
    async with peer_stream(free_address(family, socket_folder)) as (reader, _, peer):
        peer.send(b"x" * 100)
        peer.half_close()
        assert await reader.readexactly(100) == b"x" * 100
        assert await reader.read(1) == b""
        assert reader.at_eof()


@_EACH_FAMILY
async def test_read_without_a_number_is_everything(family: str, socket_folder: Path) -> None:
    """``read()`` collects up to the end, also what is larger than the limit."""
    async with (
        peer_stream(free_address(family, socket_folder), limit=10) as (reader, _, peer),
        bridgeio.create_task_group() as group,
    ):

        async def send() -> None:
            await peer.send_all(b"0123456789" * 50_000)
            peer.half_close()

        group.start_soon(send)
        assert await reader.read() == b"0123456789" * 50_000


async def test_read_of_nothing_gives_nothing() -> None:
    """``read(0)`` and ``readexactly(0)`` give ``b""`` at once, without an end."""
    async with peer_stream() as (reader, _, peer):
        assert await reader.read(0) == await reader.readexactly(0) == b""
        peer.send(b"x")
        assert await reader.read(0) == b""
        assert await reader.read(1) == b"x"


@pytest.mark.parametrize("cut", range(1, 8))
async def test_a_separator_may_come_in_pieces(cut: int) -> None:
    """``readuntil`` finds a separator of several bytes wherever the segments are cut."""
    message = b"abc--=--rest"
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await reader.readuntil(b"--=--"))

        group.start_soon(read)
        peer.send(message[:cut])
        for _ in range(3):
            await bridgeio.sleep(0.001)
        peer.send(message[cut:])
        await until(lambda: got)
        assert got == [b"abc--=--"]
        assert await reader.readexactly(4) == b"rest"


async def test_readuntil_at_the_end_of_the_stream() -> None:
    """``readuntil`` without its separator raises with what had come, which is then taken."""
    async with peer_stream() as (reader, _, peer):
        peer.send(b"no newline")
        peer.half_close()
        with pytest.raises(bridgeio.IncompleteReadError) as caught:
            await reader.readuntil(b"\n")
        assert caught.value.partial == b"no newline"
        assert caught.value.expected is None
        assert await reader.read() == b""


async def test_an_empty_separator_is_refused() -> None:
    """``readuntil(b"")`` would be found everywhere: ValueError, and nothing is taken."""
    async with peer_stream() as (reader, _, peer):
        peer.send(b"x")
        with pytest.raises(ValueError, match="empty separator"):
            await reader.readuntil(b"")
        with pytest.raises(ValueError, match="empty separator"):
            await reader.discard_until(b"")
        assert await reader.read(5) == b"x"


async def test_readexactly_waits_for_all() -> None:
    """``readexactly`` gives exactly as many bytes, in however many segments they come, and keeps the rest."""
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:

        async def send() -> None:
            for _ in range(10):
                peer.send(b"0123")
                await bridgeio.sleep(0.001)

        group.start_soon(send)
        assert await reader.readexactly(35) == (b"0123" * 10)[:35]
        assert await reader.readexactly(5) == b"30123"


async def test_readexactly_may_exceed_the_limit() -> None:
    """The limit bounds the search for separators; who asks for a megabyte gets a megabyte."""
    async with peer_stream(limit=100) as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(peer.send_all, bytes(MEGABYTE))
        assert await reader.readexactly(MEGABYTE) == bytes(MEGABYTE)


async def test_readexactly_at_the_end_of_the_stream() -> None:
    """EOF inside ``readexactly`` raises with what had come and how much was asked for."""
    async with peer_stream() as (reader, _, peer):
        peer.send(b"abc")
        peer.half_close()
        with pytest.raises(bridgeio.IncompleteReadError) as caught:
            await reader.readexactly(10)
        assert (caught.value.partial, caught.value.expected) == (b"abc", 10)
        assert reader.at_eof()


async def test_a_negative_count_is_refused() -> None:
    """``readexactly(-1)`` is a ValueError."""
    async with peer_stream() as (reader, _, _peer):
        with pytest.raises(ValueError, match="negative"):
            await reader.readexactly(-1)


async def test_readinto_fills_the_callers_buffer() -> None:
    """``readinto`` writes into what it is given, from the wire and from what is buffered, and says how much."""
    async with peer_stream() as (reader, _, peer):
        peer.send(b"line\nhello")
        assert await reader.readline() == b"line\n"
        target = bytearray(b"........")
        assert await reader.readinto(memoryview(target)[:3]) == 3
        assert await reader.readinto(memoryview(target)[3:]) == 2
        assert target == b"hello..."
        assert await reader.readinto(bytearray()) == 0
        peer.half_close()
        assert await reader.readinto(target) == 0


async def test_a_line_over_the_limit_stays() -> None:
    """Over ``limit`` ``readuntil`` raises, each time, and takes nothing: the bytes can still be read."""
    async with peer_stream(limit=10) as (reader, _, peer):
        peer.send(b"a" * 30 + b"\nnext\n")
        with pytest.raises(bridgeio.LimitOverrunError):
            await reader.readline()
        with pytest.raises(bridgeio.LimitOverrunError) as caught:
            await reader.readline()
        assert 0 < caught.value.consumed <= 30
        assert await reader.readexactly(31) == b"a" * 30 + b"\n"
        assert await reader.readline() == b"next\n"


async def test_discard_until_skips_a_line_over_the_limit() -> None:
    """``discard_until`` skips a line however long, says how much that was, and the stream lives on."""
    async with peer_stream(limit=10) as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(peer.send_all, b"a" * 200_000 + b"\nnext\n")
        with pytest.raises(bridgeio.LimitOverrunError):
            await reader.readline()
        assert await reader.discard_until(b"\n") == 200_001
        assert await reader.readline() == b"next\n"


async def test_discard_until_at_the_end_of_the_stream() -> None:
    """Without the separator everything is skipped and ``partial`` is empty."""
    async with peer_stream() as (reader, _, peer):
        peer.send(b"no newline")
        peer.half_close()
        with pytest.raises(bridgeio.IncompleteReadError) as caught:
            await reader.discard_until(b"\n")
        assert caught.value.partial == b""
        assert await reader.read() == b""


@pytest.mark.parametrize("length", [9, 10, 11])
async def test_the_limit_counts_the_bytes_before_the_separator(length: int) -> None:
    """A line of ``limit`` bytes and its separator passes, one more does not: however the bytes came."""
    async with peer_stream(limit=10) as (reader, _, peer):
        peer.send(b"a" * length + b"\n")
        if length <= 10:
            assert await reader.readline() == b"a" * length + b"\n"
        else:
            with pytest.raises(bridgeio.LimitOverrunError):
                await reader.readline()


async def test_a_second_reader_is_refused() -> None:
    """While one task reads, another one's read of any kind is BusyError, and the first is not disturbed."""
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await reader.readline())

        group.start_soon(read)
        await until(lambda: reader._reading)
        for second in _every_read(reader):
            with pytest.raises(bridgeio.BusyError, match="already reading"):
                await second()
        peer.send(b"first\n")
        await until(lambda: got)
        assert got == [b"first\n"]


async def test_a_second_reader_is_refused_while_the_first_gives_way() -> None:
    """Also when a read that has taken some of its bytes lets others run: they must not get what comes after."""
    async with peer_stream() as (reader, _, peer):
        peer.send(b"first")
        await reader.readexactly(5)  # a full receive: the next one is tried at once
        begun = bridgeio.Event()
        whole: list[bytes] = []

        async def read_whole() -> None:
            begun.set()
            current_task().budget = 1  # gives way after the first receive
            whole.append(await reader.readexactly(10))

        async with bridgeio.create_task_group() as group:
            peer.send(b"hello")
            group.start_soon(read_whole)
            await begun.wait()
            with pytest.raises(bridgeio.BusyError):
                await reader.read(5)
            peer.send(b"world")
        assert whole == [b"helloworld"]


async def test_one_task_reads_while_another_writes() -> None:
    """Both directions of a stream work at once: an echo of megabytes that neither side buffers."""
    payload = bytes(range(256)) * (8 * MEGABYTE // 256)

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async with bridgeio.serve(echo, "127.0.0.1", 0) as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)

        async def send() -> None:
            for start in range(0, len(payload), 65536):
                writer.write(payload[start : start + 65536])
                await writer.drain()
            writer.write_eof()

        async with bridgeio.create_task_group() as group:
            group.start_soon(send)
            assert await reader.read() == payload
        writer.close()


async def test_a_reader_that_nobody_reads_stops_the_peer() -> None:
    """Bytes that nobody asks for stay in the kernel: the peer is stopped, and nothing is lost afterwards."""
    async with peer_stream() as (reader, _, peer):
        sent = await _send_until_stopped(peer)
        assert sent < 64 * MEGABYTE
        assert reader._buffer.size == 0
        async with bridgeio.create_task_group() as group:
            group.start_soon(_finish, peer)
            assert len(await reader.read()) == sent


async def test_single_bytes_of_a_buffered_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a buffered megabyte byte by byte copies at most three times the data."""
    copied = _count_copies(monkeypatch)
    async with peer_stream(limit=2 * MEGABYTE) as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(peer.send_all, b"x" * MEGABYTE)
        reader.limit = MEGABYTE - 1
        with pytest.raises(bridgeio.LimitOverrunError):
            await reader.readuntil(b"\n")
        assert reader._buffer.size >= MEGABYTE - 65536
        taken = 0
        while taken < MEGABYTE:
            taken += len(await reader.read(1))
        assert copied() <= 3 * MEGABYTE


async def test_a_separator_behind_a_trickled_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    """``readuntil`` through a megabyte that trickles in copies, and searches, at most three times the data."""
    copied = _count_copies(monkeypatch)
    async with peer_stream(limit=2 * MEGABYTE) as (reader, _, peer), bridgeio.create_task_group() as group:

        async def trickle() -> None:
            for _ in range(MEGABYTE // 1024):
                peer.send(b"x" * 1024)
                await bridgeio.sleep(0)
            peer.send(b"\r\n")

        group.start_soon(trickle)
        assert len(await reader.readuntil(b"\r\n")) == MEGABYTE + 2
        assert copied() <= 3 * MEGABYTE


async def test_reading_after_close() -> None:
    """Once this side has closed the stream a read is StreamClosedError, which is a ConnectionError."""
    async with peer_stream() as (reader, writer, _peer):
        writer.close()
        for read in _every_read(reader):
            with pytest.raises(bridgeio.StreamClosedError, match="closed by this side") as refusal:
                await read()
            assert refusal.value.__cause__ is None  # and above all not itself


async def test_a_broken_stream_says_the_same_each_time() -> None:
    """Every read after a reset raises it again, in the same words, with the system's error as the cause."""
    async with peer_stream() as (reader, _, peer):
        peer.reset()
        told: list[str] = []
        for _ in range(3):
            with pytest.raises(ConnectionResetError) as failure:
                await reader.read(1)
            told.append(str(failure.value))
            assert isinstance(failure.value.__cause__, ConnectionResetError)
    assert told == [told[0]] * 3


async def test_closing_ends_another_tasks_read() -> None:
    """A task that waits for bytes hears at once that the stream was closed here."""
    async with peer_stream() as (reader, writer, _peer), bridgeio.create_task_group() as group:
        heard: list[Exception] = []

        async def read() -> None:
            try:
                await reader.read(1)
            except bridgeio.StreamClosedError as error:
                heard.append(error)

        group.start_soon(read)
        await until(lambda: reader._reading)
        writer.close()
        await until(lambda: heard)


def _every_read(reader: bridgeio.Reader) -> list[Any]:
    return [
        lambda: reader.read(1),
        reader.read,
        reader.readline,
        lambda: reader.readexactly(1),
        lambda: reader.readuntil(b";"),
        lambda: reader.readinto(bytearray(1)),
        lambda: reader.discard_until(b";"),
    ]


async def _send_until_stopped(peer: Peer) -> int:
    """Sends until the kernel has taken nothing for a while; how much it took."""
    sent = refused = 0
    while refused < 20 and sent < 64 * MEGABYTE:
        taken = peer.send_some(bytes(65536))
        sent += taken
        refused = 0 if taken else refused + 1
        await bridgeio.sleep(0.001)
    return sent


async def _finish(peer: Peer) -> None:
    peer.half_close()


def _count_copies(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has every new buffer count the bytes that it moves or looks at; returns the count so far."""
    moved = [0]

    class Counting(bytearray):
        def __iadd__(self, data: Any) -> Any:  # type: ignore[misc]
            moved[0] += len(data)
            return super().__iadd__(data)

        def __delitem__(self, index: Any) -> None:
            super().__delitem__(index)
            moved[0] += len(self)

        def find(self, wanted: Any, start: Any = 0, *rest: Any) -> int:
            moved[0] += max(0, len(self) - start)
            return super().find(wanted, start, *rest)

    monkeypatch.setattr(ReceiveBuffer, "storage", Counting)
    return lambda: moved[0]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
