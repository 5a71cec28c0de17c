"""TLS and `bridgeio.wrap`: ours over a framework's stream, and a framework's own under a Reader and a Writer."""

from __future__ import annotations

import importlib.util
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import RawListener
from bridgeio.testing.tls_peers import NAME, TlsPeer, client_context, server_context
from native_streams import KINDS, TLS_KINDS, on_each_kind, present, wrapped
from needs import absent

PATTERN = bytes(range(256)) * 4096


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return present(request.param)


@pytest.fixture(params=TLS_KINDS)
def tls_kind(request: pytest.FixtureRequest) -> str:
    if request.param.startswith("Twisted") and importlib.util.find_spec("OpenSSL") is None:
        absent("pyOpenSSL, which Twisted's own TLS needs, is not installed")
    return present(request.param)


@on_each_kind
async def test_tls_over_a_wrapped_stream(kind: str) -> None:
    """Both sides of a handshake, data both ways, and an orderly end."""
    for server_side in (False, True):
        async with wrapped(kind) as (reader, writer, raw):
            mine, others = client_context(), server_context()
            if server_side:
                mine, others = others, mine
            peer = TlsPeer(raw, others, server_side=not server_side)
            async with bridgeio.create_task_group() as group:
                group.start_soon(peer.shake_hands)
                await writer.start_tls(mine, server_side=server_side, server_hostname=None if server_side else NAME)
            await peer.send_all(b"hello\n")
            assert await reader.readline() == b"hello\n"
            writer.write(PATTERN)
            async with bridgeio.create_task_group() as group:
                group.start_soon(_expects, peer, PATTERN)
                await writer.drain()
            await peer.say_goodbye()
            assert await reader.read() == b""
            writer.close()
            assert await peer.receive_all() == b""


@on_each_kind
async def test_an_early_handshake(kind: str) -> None:
    """A first TLS message that has come before TLS was asked for goes into the handshake."""
    async with wrapped(kind) as (reader, writer, raw):
        peer = TlsPeer(raw, client_context())
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.do_handshake()
        raw.send(b"STARTTLS\n")
        await peer.flush()
        assert await reader.readline() == b"STARTTLS\n"
        async with bridgeio.create_task_group() as group:
            group.start_soon(peer.shake_hands)
            await writer.start_tls(server_context(), server_side=True)
        await peer.send_all(b"hello\n")
        assert await reader.readline() == b"hello\n"


@on_each_kind
async def test_a_truncated_stream(kind: str) -> None:
    """An end without TLS's closing message is found out over every stream."""
    async with wrapped(kind) as (reader, writer, raw):
        peer = TlsPeer(raw, server_context(), server_side=True)
        async with bridgeio.create_task_group() as group:
            group.start_soon(peer.shake_hands)
            await writer.start_tls(client_context(), server_hostname=NAME)
        raw.close()
        with pytest.raises((bridgeio.TruncatedStreamError, ConnectionResetError)):
            await reader.read()


@on_each_kind
async def test_a_frameworks_own_tls(tls_kind: str) -> None:
    """A connection that the framework has encrypted is read and written like any other."""
    async with _encrypted_natively(tls_kind) as (reader, writer, peer):
        await peer.send_all(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.write(PATTERN)
        assert await peer.receive(len(PATTERN)) == PATTERN
        assert ("DNS", NAME) in _names(writer)
        await peer.say_goodbye()
        assert await reader.read() == b""


@on_each_kind
async def test_closing_a_frameworks_own_tls(tls_kind: str) -> None:
    """Everything arrives, and the connection is closed."""
    async with _encrypted_natively(tls_kind) as (_, writer, peer):
        writer.write(PATTERN)
        writer.close()
        async with bridgeio.create_task_group() as group:
            group.start_soon(_reads_to_the_end, peer, PATTERN)
            await writer.wait_closed()


@on_each_kind
async def test_much_through_a_frameworks_own_tls(tls_kind: str) -> None:
    """What the peer does not take waits in the Writer, and is not lost; nor is what the peer sends meanwhile."""
    async with _encrypted_natively(tls_kind) as (reader, writer, peer):
        writer.write(PATTERN * 20)
        await bridgeio.sleep(0)
        assert writer.get_write_buffer_size() > len(PATTERN) * 10
        async with bridgeio.create_task_group() as group:
            group.start_soon(_expects, peer, PATTERN * 20)
            await writer.drain()
        async with bridgeio.create_task_group() as group:
            group.start_soon(peer.send_all, PATTERN * 4)
            assert await reader.readexactly(len(PATTERN) * 4) == PATTERN * 4


@on_each_kind
async def test_a_forged_record_in_a_frameworks_own_tls(tls_kind: str) -> None:
    """It is an error of the reader's, and never bytes."""
    async with _encrypted_natively(tls_kind) as (reader, _, peer):
        await peer.send_all(b"hello\n")
        assert await reader.readline() == b"hello\n"
        peer.peer.send(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await reader.read(1)


@on_each_kind
async def test_aborting_a_frameworks_own_tls(tls_kind: str) -> None:
    """Nobody waits for the peer."""
    async with _encrypted_natively(tls_kind) as (reader, writer, _):
        writer.write(PATTERN * 16)
        writer.abort()
        await writer.wait_closed()
        with pytest.raises(bridgeio.StreamClosedError):
            await reader.read()


def test_a_socket_that_speaks_tls_is_refused() -> None:
    """It would be read as if it were plain: the error names `start_tls`, and the socket stays as it is."""

    async def main() -> None:
        one, other = socket.socketpair()
        with other, client_context().wrap_socket(one, do_handshake_on_connect=False, server_hostname=NAME) as sock:
            with pytest.raises(TypeError, match="start_tls"):
                bridgeio.wrap(sock)
            assert sock.fileno() >= 0

    bridgeio.run(main)


@asynccontextmanager
async def _encrypted_natively(kind: str) -> AsyncIterator[tuple[bridgeio.Reader, bridgeio.Writer, TlsPeer]]:
    """One that shakes hands when it is first used is used here."""
    with RawListener() as listener:
        async with bridgeio.create_task_group() as group:
            accepted = await group.start(_answer, listener)
            native = await KINDS[kind][1](listener.address, client_context())
            reader, writer = bridgeio.wrap(native)
            writer.write(b"first\n")
        with accepted[0].peer:
            try:
                yield reader, writer, accepted[0]
            finally:
                writer.abort()


async def _answer(listener: RawListener, *, task_status: Any) -> None:
    accepted: list[TlsPeer] = []
    task_status.started(accepted)
    peer = TlsPeer(await listener.accept(), server_context(), server_side=True)
    await peer.shake_hands()
    assert await peer.receive(6) == b"first\n"
    accepted.append(peer)


async def _expects(peer: TlsPeer, data: bytes) -> None:
    assert await peer.receive(len(data)) == data


async def _reads_to_the_end(peer: TlsPeer, data: bytes) -> None:
    """Tornado ends without a closing message, AnyIO waits for ours."""
    await _expects(peer, data)
    with suppress(ssl.SSLEOFError):
        assert await peer.receive_all() == b""
    with suppress(ConnectionError, ssl.SSLError):
        await peer.say_goodbye()
    peer.peer.close()


def _names(writer: bridgeio.Writer) -> Any:
    """Of the peer's certificate. Twisted shows it in pyOpenSSL's way."""
    shown = getattr(writer.get_extra_info("native"), "getPeerCertificate", None)
    if shown is None:
        return writer.get_extra_info("peercert")["subjectAltName"]
    from cryptography.x509 import DNSName, SubjectAlternativeName

    names = shown().to_cryptography().extensions.get_extension_for_class(SubjectAlternativeName).value
    return [("DNS", name) for name in names.get_values_for_type(DNSName)]
