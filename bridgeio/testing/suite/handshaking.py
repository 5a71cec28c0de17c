"""Chapter: handshaking. Whom TLS trusts, how a handshake fails, and what came before it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, RawListener, is_over, peer_stream
from bridgeio.testing.resources import until
from bridgeio.testing.tls_peers import NAME, TlsPeer, authority, client_context, server_context

pytestmark = pytest.mark.bridgeio

BULK = bytes(range(256)) * 8192


async def _echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


@cache
def _stranger() -> Any:
    """An authority that nobody trusts."""
    return type(authority())()


def _expired() -> ssl.SSLContext:
    now = datetime.now(UTC)
    return server_context(not_before=now - timedelta(days=9), not_after=now - timedelta(days=2))


# Trust


def _self_signed() -> ssl.SSLContext:
    return server_context(by=_stranger())


BAD_SERVERS: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "unknown authority": (_self_signed, NAME),
    "expired": (_expired, NAME),
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
            with pytest.raises(ssl.SSLCertVerificationError, match=r"TLS handshake with 127\.0\.0\.1") as refused:
                await bridgeio.open_connection("127.0.0.1", server.port, ssl=client_context(), server_hostname=name)
            assert (refused.value.reason, refused.value.verify_code > 0) == ("CERTIFICATE_VERIFY_FAILED", True)
            await until(lambda number=number: len(told) == number and not server.connections)  # type: ignore[misc]
    assert {type(error) for error in told} == {ssl.SSLError}, "the client's alert was not heard"


async def test_the_name_that_was_connected_to_is_checked() -> None:
    """``open_connection`` verifies the host's own name unless told another."""
    async with bridgeio.serve(_echo, "127.0.0.1", ssl=server_context(), on_error=lambda *_: None) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            await bridgeio.open_connection("127.0.0.1", server.port, ssl=client_context())


NAMES = {
    "a name": ("peer.example", "peer.example"),
    "the root's dot": ("peer.example.", "peer.example"),
    "letters": ("b\u00fccher.example", "xn--bcher-kva.example"),
    "an address": ("127.0.0.1", None),
}


@pytest.mark.parametrize("case", NAMES)
async def test_names_of_a_server(case: str) -> None:
    """The host is checked and sent (SNI) as certificates have it, however it was written; addresses are not sent."""
    host, expected = NAMES[case]
    context, asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    authority().issue_cert("peer.example", "b\u00fccher.example", "127.0.0.1").configure_cert(context)
    context.sni_callback = lambda tls, name, context: asked.append(name)

    async def loopback(name: str | None, port: Any, family: int, flags: int) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    async with bridgeio.serve(_echo, "127.0.0.1", ssl=context) as server:
        _, writer = await bridgeio.open_connection(host, server.port, ssl=client_context(), resolver=loopback)
        writer.close()
    assert asked == [expected]


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


async def test_a_failed_handshake_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Without ``on_error`` the log has one line for it, and no traceback: the internet is full of such peers."""
    async with bridgeio.serve(_echo, "127.0.0.1", ssl=server_context()) as server:
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"GET / HTTP/1.1\r\n\r\n")
            await is_over(peer)
        await until(lambda: not server.connections)
    (record,) = [record for record in caplog.records if record.name == "bridgeio.server"]
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "TLS with 127.0.0.1" in record.getMessage()


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


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
