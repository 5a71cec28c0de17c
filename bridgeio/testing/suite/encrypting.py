"""Chapter: encrypting. What goes through TLS, how it ends, and one layer in another."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.limits import CHUNK_MAX
from bridgeio.testing.peers import free_address, open_to, peer_stream
from bridgeio.testing.resources import until
from bridgeio.testing.tls_peers import NAME, VERSIONS, TlsPeer, client_context, encrypted_stream, only, server_context

pytestmark = pytest.mark.bridgeio

BULK = bytes(range(256)) * 8192


async def _echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


# Bytes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("family", ["ipv4", "unix"])
async def test_tls_carries_everything(version: str, family: str, socket_folder: Path) -> None:
    """Both sides of ours, small messages and large ones, over TCP and UNIX sockets."""
    address = free_address(family, socket_folder)
    context = only(server_context(), version)
    serving = (
        bridgeio.serve_unix(_echo, address, ssl=context)
        if family == "unix"
        else bridgeio.serve(_echo, *address, ssl=context)
    )
    async with serving as server:
        reader, writer = await open_to(server.addresses[0], ssl=client_context(), server_hostname=NAME)
        async with writer:
            writer.write(b"a line\n")
            assert await reader.readline() == b"a line\n"
            async with bridgeio.create_task_group() as group:
                group.start_soon(_write_all, writer, BULK)
                assert await reader.readexactly(len(BULK)) == BULK


async def _write_all(writer: bridgeio.Writer, data: bytes) -> None:
    for start in range(0, len(data), 100_000):
        writer.write(data[start : start + 100_000])
        await writer.drain()


@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
async def test_a_trickle_of_ciphertext(server_side: bool) -> None:
    """Records that come byte by byte, and several in one piece, are read whole and in order."""
    async with encrypted_stream(server_side=server_side) as (reader, _, peer), bridgeio.create_task_group() as group:
        for word in (b"one", b"two", b"three"):
            peer.tls.write(word)
        ciphertext = peer.unsent()

        async def trickle() -> None:
            for byte in ciphertext:
                await peer.peer.send_all(bytes([byte]))

        group.start_soon(trickle)
        assert await reader.readexactly(11) == b"onetwothree"


async def test_a_record_larger_than_a_read() -> None:
    """What a small read leaves of a record is there for the next, and needs no event."""
    async with encrypted_stream() as (reader, _, peer):
        await peer.send_all(bytes(range(200)))
        assert b"".join([await reader.read(1) for _ in range(200)]) == bytes(range(200))


async def test_a_useless_event_in_the_middle_of_a_record() -> None:
    """The kernel may announce what a read has taken already: the rest of the record is read all the same."""
    async with encrypted_stream() as (reader, _, peer):
        await peer.send_all(bytes(range(200)))
        assert await reader.read(1) == b"\0"
        _announce_more(reader)
        assert await reader.readexactly(199) == bytes(range(1, 200))


async def test_a_reset_in_the_middle_of_a_record() -> None:
    """What was decrypted and not read yet comes before the error."""
    async with encrypted_stream() as (reader, _, peer):
        await peer.send_all(bytes(range(200)))
        assert await reader.read(1) == b"\0"
        peer.peer.reset()
        _announce_more(reader)
        assert await reader.readexactly(199) == bytes(range(1, 200))
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


def _announce_more(reader: bridgeio.Reader) -> None:
    """As an event does that comes behind the receive which has taken what it is about."""
    layer: Any = reader.source
    layer._below.readable = True


async def test_data_behind_the_handshake() -> None:
    """Data that comes in one piece with the peer's last message of the handshake is read."""
    async with peer_stream() as (reader, writer, raw), bridgeio.create_task_group() as group:
        group.start_soon(partial(writer.start_tls, server_context(), server_side=True))
        peer = TlsPeer(raw, client_context())
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        await peer.flush()
        while True:
            await peer._take(raw.receive_some(1 << 16))
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        peer.tls.write(b"hello")
        await peer.flush()
        await until(lambda: not writer._securing)
        assert await reader.readexactly(5) == b"hello"


async def test_a_reader_that_nobody_reads_stops_a_tls_peer() -> None:
    """Ciphertext is taken only for somebody who reads: a flood fills the kernel's buffers, and not ours."""
    async with encrypted_stream() as (reader, _, peer):
        peer.tls.write(BULK * 4)
        flood = memoryview(peer.unsent())
        sent, quiet = 0, 0
        while quiet < 50 and sent < len(flood):
            more = peer.peer.send_some(flood[sent:])  # type: ignore[arg-type]
            sent, quiet = sent + more, 0 if more else quiet + 1
            await bridgeio.sleep(0)
        if sent == len(flood):
            pytest.skip("the kernel's buffers hold all of it")
        layer: Any = reader._source
        assert layer._incoming.pending == 0

        async def rest() -> None:
            await peer.peer.send_all(bytes(flood[sent:]))

        async with bridgeio.create_task_group() as group:
            group.start_soon(rest)
            assert await reader.readexactly(len(BULK) * 4) == BULK * 4


async def test_a_reader_that_takes_little_holds_little() -> None:
    """A task that reads byte by byte what a peer sends as fast as it can has no more ciphertext in memory than one
    receive brings."""
    async with encrypted_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(peer.send_all, BULK)
        layer: Any = reader._source
        held = []
        for byte in BULK[:40_000]:
            assert await reader.read(1) == bytes([byte])
            held.append(layer._incoming.pending)
        group.cancel_scope.cancel()
    assert max(held) <= CHUNK_MAX


# Ends


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("strict", [True, False])
async def test_an_end_without_a_closing_message(version: str, strict: bool) -> None:
    """What has come is read; then it is an error, again and again, unless the stream was told not to mind."""
    async with encrypted_stream(version, standard_compatible=strict) as (reader, _, peer):
        await peer.send_all(b"half of it")
        peer.peer.half_close()
        assert await reader.read(100) == b"half of it"
        if strict:
            for _ in range(2):
                with pytest.raises(bridgeio.TruncatedStreamError, match="standard_compatible"):
                    await reader.read(100)
        else:
            assert await reader.read(100) == b""
            assert reader.at_eof()


async def test_a_reset_is_no_end() -> None:
    """Not for a stream either that takes an end without a closing message for one; whoever of the two has met it."""
    async with encrypted_stream(standard_compatible=False) as (reader, writer, peer):
        peer.peer.reset()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await _write_on(writer)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def _write_on(writer: bridgeio.Writer) -> None:
    while True:
        writer.write(b"into the void")
        await bridgeio.sleep(0.001)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_closing_message(version: str) -> None:
    """The end of a stream that its peer has closed in order is ``b""``, whatever follows on the connection."""
    async with encrypted_stream(version) as (reader, writer, peer):
        await peer.send_all(b"all of it")
        await peer.say_goodbye()
        assert await reader.read() == b"all of it"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert await peer.receive_all() == b""


async def test_closing_flushes_and_says_so() -> None:
    """``close`` sends what waits, then the closing message, and then ends the connection."""
    async with encrypted_stream() as (_, writer, peer):
        writer.write(BULK)
        writer.close()
        assert await peer.receive_all() == BULK
        assert await peer.peer.receive_all() == b""
        await writer.wait_closed()


@pytest.mark.parametrize("version", VERSIONS)
async def test_closing_in_the_middle_of_a_record(version: str) -> None:
    """The peer gets a closing message, though a part of its next record has come."""
    async with encrypted_stream(version) as (reader, writer, peer):
        first, second = _two_records(peer)
        await peer.peer.send_all(first + second[:9])
        assert await reader.read(100) == b"one"
        writer.close()
        assert await peer.receive_all() == b""


async def test_an_aborted_stream_is_truncated() -> None:
    """``abort`` says nothing to anybody: a peer that minds sees that something is missing."""
    async with encrypted_stream() as (_, writer, peer):
        writer.write(b"some")
        assert await peer.receive(4) == b"some"
        writer.abort()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            await peer.receive_all()


async def test_half_closing() -> None:
    """TLS 1.3 ends one direction alone: what the peer sends after it, and what had come before it, is read."""
    async with encrypted_stream() as (reader, writer, peer):
        await peer.send_all(b"before ")
        assert await reader.read(3) == b"bef"
        await peer.send_all(b"waiting ")
        assert writer.can_write_eof()
        writer.write_eof()
        writer.write_eof()
        with pytest.raises(bridgeio.StreamClosedError, match="write_eof"):
            writer.write(b"x")
        assert await peer.receive_all() == b""
        await peer.send_all(b"after")
        await peer.say_goodbye()
        assert await reader.read() == b"ore waiting after"


async def test_half_closing_with_records_waiting() -> None:
    """Records that were taken and not yet decrypted when this side ended its direction are read as well."""
    async with encrypted_stream() as (reader, writer, peer):
        for word in (b"one ", b"two ", b"three "):
            peer.tls.write(word)
        await peer.flush()
        assert await reader.read(100) == b"one "
        writer.write_eof()
        await peer.send_all(b"four")
        await peer.say_goodbye()
        assert await reader.read() == b"two three four"


async def test_half_closing_in_the_middle_of_a_record() -> None:
    """This direction ends at once, and the record is read when its rest has come."""
    async with encrypted_stream() as (reader, writer, peer):
        first, second = _two_records(peer)
        await peer.peer.send_all(first + second[:9])
        assert await reader.read(100) == b"one"
        writer.write_eof()
        assert await peer.receive_all() == b""
        await peer.peer.send_all(second[9:])
        assert await reader.read(100) == b"two"


def _two_records(peer: TlsPeer) -> tuple[bytes, bytes]:
    """Their ciphertext."""
    records = []
    for word in (b"one", b"two"):
        peer.tls.write(word)
        records.append(peer.unsent())
    return records[0], records[1]


async def test_no_half_closing_in_tls_1_2() -> None:
    """Its peers answer a closing message by one of their own and drop the rest: so it is not offered."""
    async with encrypted_stream("1.2") as (reader, writer, peer):
        assert not writer.can_write_eof()
        with pytest.raises(OSError, match="cannot end one direction alone"):
            writer.write_eof()
        writer.write(b"still there")
        assert await peer.receive(11) == b"still there"
        await peer.send_all(b"and back")
        assert await reader.readexactly(8) == b"and back"


# Layers


async def test_tls_inside_tls() -> None:
    """A layer on a layer, as through a proxy: both directions, and both ends in order."""
    async with encrypted_stream() as (reader, writer, outer):
        inner = TlsPeer(_Through(outer), server_context(), server_side=True)  # type: ignore[arg-type]
        async with bridgeio.create_task_group() as group:
            group.start_soon(inner.shake_hands)
            await writer.start_tls(client_context(), server_hostname=NAME)
        writer.write(b"there")
        assert await inner.receive(5) == b"there"
        await inner.send_all(b"back")
        assert await reader.readexactly(4) == b"back"
        writer.close()
        assert await inner.receive_all() == b""
        assert await outer.receive_all() == b""
        await writer.wait_closed()


async def test_half_closing_the_inner_of_two() -> None:
    """Behind bytes that wait, too: the inner direction ends, and the outer connection goes on until it is closed."""
    async with encrypted_stream() as (reader, writer, outer):
        inner = TlsPeer(_Through(outer), server_context(), server_side=True)  # type: ignore[arg-type]
        async with bridgeio.create_task_group() as group:
            group.start_soon(inner.shake_hands)
            await writer.start_tls(client_context(), server_hostname=NAME)
        writer.write(BULK)
        assert writer.get_write_buffer_size() > 0
        writer.write_eof()
        assert await inner.receive_all() == BULK
        await inner.send_all(b"and back")
        assert await reader.readexactly(8) == b"and back"
        writer.close()
        assert await outer.receive_all() == b""


class _Through:
    """A raw peer's two methods that a `TlsPeer` asks for, through another."""

    def __init__(self, outer: TlsPeer) -> None:
        self.send_all = outer.send_all
        self.receive_some = outer.receive_some


# Wrong arguments


async def test_arguments_of_tls() -> None:
    """What would verify nothing, or cannot work, is refused before anything is connected or changed."""
    async with peer_stream() as (_, writer, raw):
        with pytest.raises(ValueError, match="server_hostname="):
            await writer.start_tls(client_context())
        with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
            await writer.start_tls("a context")  # type: ignore[arg-type]
        writer.write(b"still plain")
        assert await raw.receive(11) == b"still plain"
    with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
        bridgeio.serve(_echo, "127.0.0.1", ssl=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="CLIENT_AUTH"):
        bridgeio.serve(_echo, "127.0.0.1", ssl=client_context())
    with pytest.raises(ValueError, match="above 0"):
        bridgeio.serve(_echo, "127.0.0.1", ssl=server_context(), handshake_timeout=0)


BAD_CLIENTS: dict[str, tuple[Callable[[], dict[str, Any]], type[Exception], str]] = {
    "a name without TLS": (lambda: {"ssl": None}, ValueError, "give ssl="),
    "a session without TLS": (
        lambda: {"ssl": None, "server_hostname": None, "session": 5},
        ValueError,
        "session=.*give ssl=",
    ),
    "no session": (lambda: {"ssl": client_context(), "session": 5}, TypeError, "session is the ssl.SSLSession.*not 5"),
    "no patience without TLS": (
        lambda: {"ssl": None, "server_hostname": None, "handshake_timeout": 0},
        ValueError,
        "above 0",
    ),
    "no context": (lambda: {"ssl": "yes"}, TypeError, r"ssl\.SSLContext"),
    "a server's context": (lambda: {"ssl": server_context()}, ValueError, "SERVER_AUTH"),
    "no name": (lambda: {"ssl": client_context(), "server_hostname": ""}, ValueError, "server_hostname="),
    "no number": (lambda: {"ssl": client_context(), "handshake_timeout": None}, TypeError, "number of seconds"),
}


@pytest.mark.parametrize("case", BAD_CLIENTS)
async def test_arguments_of_a_tls_client(case: str, socket_folder: Path) -> None:
    """They are refused before anything is connected: nobody listens there, and nobody is asked."""
    options, kind, words = BAD_CLIENTS[case]
    for address in (("127.0.0.1", 1), str(socket_folder / "nothing")):
        with pytest.raises(kind, match=words):
            await open_to(address, **{"server_hostname": NAME, **options()})


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
