"""Chapter: encrypting. TLS from the start, and after it; whom it trusts, how it ends, and what it never delivers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, RawListener, free_address, open_to, peer_stream
from bridgeio.testing.resources import until
from bridgeio.testing.tls_peers import (
    NAME,
    TlsPeer,
    authority,
    client_context,
    forgetful,
    server_context,
    stranger,
)

pytestmark = pytest.mark.bridgeio

BULK = bytes(range(256)) * 8192
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

Stream = tuple[bridgeio.Reader, bridgeio.Writer]


async def _echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _only(context: ssl.SSLContext, version: str) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


@asynccontextmanager
async def _encrypted(
    version: str = "1.3", *, server_side: bool = False, **options: Any
) -> AsyncIterator[tuple[bridgeio.Reader, bridgeio.Writer, TlsPeer]]:
    """A stream of ours under TLS, and a raw peer that speaks it too."""
    async with peer_stream() as (reader, writer, raw):
        mine, others = _only(client_context(), version), _only(server_context(), version)
        if server_side:
            mine, others = others, mine
        peer = TlsPeer(raw, others, server_side=not server_side)
        async with bridgeio.create_task_group() as group:
            group.start_soon(peer.shake_hands)
            name = None if server_side else NAME
            await writer.start_tls(mine, server_side=server_side, server_hostname=name, **options)
        yield reader, writer, peer


# Bytes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("family", ["ipv4", "unix"])
async def test_tls_carries_everything(version: str, family: str, socket_folder: Path) -> None:
    """Both sides of ours, small messages and large ones, over TCP and UNIX sockets."""
    address = free_address(family, socket_folder)
    context = _only(server_context(), version)
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
    async with _encrypted(server_side=server_side) as (reader, _, peer), bridgeio.create_task_group() as group:
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
    async with _encrypted() as (reader, _, peer):
        await peer.send_all(bytes(range(200)))
        assert b"".join([await reader.read(1) for _ in range(200)]) == bytes(range(200))


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
    async with _encrypted() as (reader, _, peer):
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


# Trust


def _self_signed() -> ssl.SSLContext:
    return server_context(by=stranger())


BAD_SERVERS: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "unknown authority": (_self_signed, NAME),
    "expired": (forgetful, NAME),
    "another name": (server_context, "another.example"),
}


@pytest.mark.parametrize("case", BAD_SERVERS)
async def test_a_server_that_cannot_be_trusted(case: str) -> None:
    """The client says why, and both sides close; the server has told its ``on_error``, and serves the next."""
    make, name = BAD_SERVERS[case]
    told: list[Exception] = []

    async def never(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        raise AssertionError("a handler of a failed handshake")

    async with bridgeio.serve(
        never, "127.0.0.1", ssl=make(), on_error=lambda error, peer: told.append(error)
    ) as server:
        for number in (1, 2):
            with pytest.raises(ssl.SSLCertVerificationError, match=r"TLS handshake with 127\.0\.0\.1"):
                await bridgeio.open_connection("127.0.0.1", server.port, ssl=client_context(), server_hostname=name)
            await until(lambda number=number: len(told) == number and not server.connections)  # type: ignore[misc]
    assert {type(error) for error in told} == {ssl.SSLError}, "the client's alert was not heard"


async def test_the_name_that_was_connected_to_is_checked() -> None:
    """``open_connection`` verifies the host's own name unless told another."""
    async with bridgeio.serve(_echo, "127.0.0.1", ssl=server_context(), on_error=lambda *_: None) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await bridgeio.open_connection("127.0.0.1", server.port, ssl=client_context())


async def test_the_system_s_authorities_are_the_default() -> None:
    """``ssl=True`` verifies, and does not know the authority of a test."""
    async with bridgeio.serve(_echo, "127.0.0.1", ssl=server_context(), on_error=lambda *_: None) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await bridgeio.open_connection("127.0.0.1", server.port, ssl=True, server_hostname=NAME)


async def test_client_certificates() -> None:
    """A server that asks for one sees whose it is, and refuses who has none."""
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    seen: list[Any] = []

    async def who(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        seen.append(writer.get_extra_info("peercert"))

    told: list[Exception] = []
    async with bridgeio.serve(who, "127.0.0.1", ssl=context, on_error=lambda error, peer: told.append(error)) as server:
        known = client_context()
        authority().issue_cert("client.example").configure_cert(known)
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port, ssl=known, server_hostname=NAME)
        assert await reader.read() == b""
        writer.close()
        reader, writer = await bridgeio.open_connection(
            "127.0.0.1", server.port, ssl=client_context(), server_hostname=NAME
        )
        with pytest.raises((ssl.SSLError, ConnectionError)):  # TLS 1.3 tells a client after its handshake
            await reader.read()
        writer.abort()
        await until(lambda: len(told) == 1)
    assert seen[0]["subjectAltName"] == (("DNS", "client.example"),)
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(told[0])


async def test_alpn_and_extra_info() -> None:
    """Both sides agree on a protocol, and ``get_extra_info`` answers asyncio's names."""
    server, client = server_context(), client_context()
    server.set_alpn_protocols(["h2", "http/1.1"])
    client.set_alpn_protocols(["http/1.1"])
    agreed: list[Any] = []

    async def tell(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        agreed.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())

    async with bridgeio.serve(tell, "127.0.0.1", ssl=server) as running:
        reader, writer = await bridgeio.open_connection("127.0.0.1", running.port, ssl=client, server_hostname=NAME)
        assert await reader.read() == b""
        writer.close()
        tls = writer.get_extra_info("ssl_object")
        assert agreed == [tls.selected_alpn_protocol()] == ["http/1.1"]
        assert writer.get_extra_info("sslcontext") is client
        assert writer.get_extra_info("peercert")["subjectAltName"] == (("DNS", NAME),)
        assert writer.get_extra_info("cipher") == tls.cipher()
        assert writer.get_extra_info("compression") is None
        assert writer.get_extra_info("peername") == ("127.0.0.1", running.port)


async def test_a_session_is_resumed() -> None:
    """A client that brings the session of an earlier connection is spared the certificates."""
    client = client_context()
    async with bridgeio.serve(_echo, "127.0.0.1", ssl=server_context()) as server:
        sessions: list[Any] = [None]
        for resumed in (False, True):
            reader, writer = await bridgeio.open_connection(
                "127.0.0.1", server.port, ssl=client, server_hostname=NAME, session=sessions[-1]
            )
            async with writer:
                writer.write(b"x")
                await reader.readexactly(1)  # the ticket comes behind the handshake
                tls = writer.get_extra_info("ssl_object")
                assert tls.session_reused is resumed
                sessions.append(tls.session)


# Ends


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("strict", [True, False])
async def test_an_end_without_a_closing_message(version: str, strict: bool) -> None:
    """What has come is read; then it is an error, again and again, unless the stream was told not to mind."""
    async with _encrypted(version, standard_compatible=strict) as (reader, _, peer):
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


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_closing_message(version: str) -> None:
    """The end of a stream that its peer has closed in order is ``b""``, whatever follows on the connection."""
    async with _encrypted(version) as (reader, writer, peer):
        await peer.send_all(b"all of it")
        await peer.say_goodbye()
        assert await reader.read() == b"all of it"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert await peer.receive_all() == b""


async def test_closing_flushes_and_says_so() -> None:
    """``close`` sends what waits, then the closing message, and then ends the connection."""
    async with _encrypted() as (_, writer, peer):
        writer.write(BULK)
        writer.close()
        assert await peer.receive_all() == BULK
        assert await peer.peer.receive_all() == b""
        await writer.wait_closed()


async def test_an_aborted_stream_is_truncated() -> None:
    """``abort`` says nothing to anybody: a peer that minds sees that something is missing."""
    async with _encrypted() as (_, writer, peer):
        writer.write(b"some")
        assert await peer.receive(4) == b"some"
        writer.abort()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            await peer.receive_all()


async def test_half_closing() -> None:
    """TLS 1.3 ends one direction alone: what the peer sends after it, and what had come before it, is read."""
    async with _encrypted() as (reader, writer, peer):
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
    async with _encrypted() as (reader, writer, peer):
        for word in (b"one ", b"two ", b"three "):
            peer.tls.write(word)
        await peer.flush()
        assert await reader.read(100) == b"one "
        writer.write_eof()
        await peer.send_all(b"four")
        await peer.say_goodbye()
        assert await reader.read() == b"two three four"


async def test_no_half_closing_in_tls_1_2() -> None:
    """Its peers answer a closing message by one of their own and drop the rest: so it is not offered."""
    async with _encrypted("1.2") as (reader, writer, peer):
        assert not writer.can_write_eof()
        with pytest.raises(OSError, match="cannot end one direction alone"):
            writer.write_eof()
        writer.write(b"still there")
        assert await peer.receive(11) == b"still there"
        await peer.send_all(b"and back")
        assert await reader.readexactly(8) == b"and back"


# Handshakes that fail


async def test_garbage_instead_of_a_handshake() -> None:
    """A peer that does not speak TLS hears so, is reported, and hurts nobody else."""
    told: list[Exception] = []
    async with bridgeio.serve(
        _echo, "127.0.0.1", ssl=server_context(), on_error=lambda error, peer: told.append(error)
    ) as server:
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 200):
            with Peer.connect(server.addresses[0]) as peer:
                peer.send(garbage)
                peer.half_close()
                await is_over(peer)
        reader, writer = await bridgeio.open_connection(
            "127.0.0.1", server.port, ssl=client_context(), server_hostname=NAME
        )
        async with writer:
            writer.write(b"well")
            assert await reader.readexactly(4) == b"well"
    assert len(told) == 3
    assert all(isinstance(error, ssl.SSLError) and "TLS handshake with 127.0.0.1" in str(error) for error in told)


async def is_over(peer: Peer) -> None:
    """Whatever the server says, and however it ends."""
    try:
        await peer.receive_all()
    except ConnectionError:
        pass


async def test_a_server_that_does_not_speak_tls() -> None:
    """A client says so, and leaves nothing open."""
    with RawListener() as listener:

        async def greet() -> None:
            with await listener.accept() as peer:
                peer.send(b"220 mail.example ESMTP\r\n")
                await is_over(peer)

        async with bridgeio.create_task_group() as group:
            group.start_soon(greet)
            with pytest.raises(ssl.SSLError, match=r"TLS handshake with 127\.0\.0\.1"):
                await bridgeio.open_connection("127.0.0.1", listener.port, ssl=client_context(), server_hostname=NAME)


@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_peer_that_vanishes_in_a_handshake(how: str) -> None:
    """It is an error that names the handshake, and nothing stays open."""
    with RawListener() as listener:

        async def vanish() -> None:
            peer = await listener.accept()
            await peer.receive_some(10)
            peer.reset() if how == "reset" else peer.close()

        async with bridgeio.create_task_group() as group:
            group.start_soon(vanish)
            with pytest.raises((ssl.SSLError, ConnectionError), match=r"TLS handshake with 127\.0\.0\.1"):
                await bridgeio.open_connection("127.0.0.1", listener.port, ssl=client_context(), server_hostname=NAME)


async def test_a_silent_server_is_given_up() -> None:
    """A server that takes the connection and says nothing: the client's handshake ends in time."""
    with RawListener() as listener, pytest.raises(ConnectionAbortedError, match=r"handshake_timeout=0\.05"):
        await bridgeio.open_connection(
            "127.0.0.1", listener.port, ssl=client_context(), server_hostname=NAME, handshake_timeout=0.05
        )


async def test_a_silent_client_is_given_up() -> None:
    """A client that stops in the middle of its handshake: the server gives it up, and tells who it was."""
    told: list[Exception] = []
    async with bridgeio.serve(
        _echo,
        "127.0.0.1",
        ssl=server_context(),
        handshake_timeout=0.05,
        on_error=lambda error, peer: told.append(error),
    ) as server:
        with Peer.connect(server.addresses[0]) as raw:
            peer = TlsPeer(raw, client_context())
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            raw.send(peer.unsent()[:20])
            await is_over(raw)
            await until(lambda: bool(told))
    assert isinstance(told[0], ConnectionAbortedError)
    assert "handshake_timeout=0.05" in str(told[0])


# STARTTLS


async def _starttls_server(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        if line == b"STARTTLS\r\n":
            writer.write(b"go ahead\r\n")
            await writer.start_tls(server_context(), server_side=True)
        else:
            secure = writer.get_extra_info("ssl_object") is not None
            writer.write(b"%s: %s" % (b"secure" if secure else b"plain", line))


async def test_starttls() -> None:
    """A conversation that becomes encrypted in the middle, on the same reader and writer, on both sides."""
    async with bridgeio.serve(_starttls_server, "127.0.0.1") as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        async with writer:
            writer.write(b"hello\r\nSTARTTLS\r\n")
            assert await reader.readline() == b"plain: hello\r\n"
            assert await reader.readline() == b"go ahead\r\n"
            await writer.start_tls(client_context(), server_hostname=NAME)
            writer.write(b"hello\r\n")
            assert await reader.readline() == b"secure: hello\r\n"


async def test_a_first_message_that_came_early() -> None:
    """A client that sends its first TLS message with the request for it: the server has read both, loses neither."""
    async with bridgeio.serve(_starttls_server, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as raw:
            peer = TlsPeer(raw, client_context())
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            raw.send(b"STARTTLS\r\n" + peer.unsent())
            assert await raw.receive(10) == b"go ahead\r\n"
            await peer.shake_hands()
            await peer.send_all(b"hello\r\n")
            assert await peer.receive(15) == b"secure: hello\r\n"


async def test_plaintext_slipped_in_before_the_handshake() -> None:
    """Commands that came in clear behind the request for TLS are never run as if they had come encrypted."""
    told: list[Exception] = []
    async with bridgeio.serve(_starttls_server, "127.0.0.1", on_error=lambda error, peer: told.append(error)) as server:
        with Peer.connect(server.addresses[0]) as raw:
            raw.send(b"STARTTLS\r\nslipped in\r\n")
            peer = TlsPeer(raw, client_context())
            assert await raw.receive(10) == b"go ahead\r\n"
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await peer.shake_hands()
        await until(lambda: bool(told))
    assert isinstance(told[0], ssl.SSLError)


async def test_an_answer_slipped_in_before_the_handshake() -> None:
    """The same on a client: what came in clear before its handshake ends the connection (CVE-2011-0411)."""
    async with peer_stream() as (reader, writer, raw):
        raw.send(b"go ahead\r\nyour password, please\r\n")
        assert await reader.readline() == b"go ahead\r\n"
        with pytest.raises(ssl.SSLError):
            await writer.start_tls(client_context(), server_hostname=NAME)
        with pytest.raises(bridgeio.StreamClosedError):
            await reader.readline()


async def test_what_was_written_before_goes_out_before() -> None:
    """Plaintext that still waits when TLS is asked for is sent first, and as it is."""
    async with peer_stream() as (reader, writer, raw), bridgeio.create_task_group() as group:
        writer.write(BULK)
        group.start_soon(partial(writer.start_tls, client_context(), server_hostname=NAME))
        assert await raw.receive(len(BULK)) == BULK
        peer = TlsPeer(raw, server_context(), server_side=True)
        await peer.shake_hands()
        await peer.send_all(b"hello")
        await until(lambda: not writer._securing)
        assert await reader.readexactly(5) == b"hello"


async def test_nobody_reads_or_writes_meanwhile() -> None:
    """While hands are shaken, other tasks' reads and writes are errors that say so, and so is a second handshake."""
    async with peer_stream() as (reader, writer, raw), bridgeio.create_task_group() as group:
        group.start_soon(partial(writer.start_tls, client_context(), server_hostname=NAME))
        assert await raw.receive_some(1) == b"\x16"
        with pytest.raises(bridgeio.BusyError):
            await reader.read(1)
        with pytest.raises(bridgeio.BusyError, match="handshake"):
            writer.write(b"x")
        with pytest.raises(bridgeio.BusyError, match="handshake"):
            await writer.start_tls(client_context(), server_hostname=NAME)
        group.cancel_scope.cancel()


async def test_a_task_that_reads_stands_in_the_way() -> None:
    """TLS cannot be put under a read: the task that reads is not disturbed."""
    async with peer_stream() as (reader, writer, raw), bridgeio.create_task_group() as group:
        got: list[bytes] = []

        async def read() -> None:
            got.append(await reader.readexactly(2))

        group.start_soon(read)
        await until(lambda: reader._reading)
        with pytest.raises(bridgeio.BusyError):
            await writer.start_tls(client_context(), server_hostname=NAME)
        raw.send(b"ok")
        await until(lambda: got == [b"ok"])
        assert not writer.is_closing()


async def test_tls_inside_tls() -> None:
    """A layer on a layer, as through a proxy: both directions, and both ends in order."""
    async with _encrypted() as (reader, writer, outer):
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
    with pytest.raises(ValueError, match="give ssl="):
        await bridgeio.open_connection("127.0.0.1", 1, server_hostname=NAME)
    with pytest.raises(TypeError, match=r"ssl\.SSLContext"):
        bridgeio.serve(_echo, "127.0.0.1", ssl=True)  # type: ignore[arg-type]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
