"""Peers that speak TLS by the `ssl` module alone, and certificates for both sides.

A peer keeps what it is about to send where a test can get at it: ciphertext may be cut in two, held back,
or never sent.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any, TypeVar

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, ReceivingEnd, peer_stream

__all__ = ["NAME", "VERSIONS", "TlsPeer", "authority", "client_context", "encrypted_stream", "only", "server_context"]

NAME = "peer.example"  # in every certificate

T = TypeVar("T")


@cache
def authority() -> Any:
    """The `trustme.CA` that both sides trust. Skips the test where trustme is missing."""
    trustme = pytest.importorskip("trustme", reason="the certificates of these tests are made by trustme")
    return trustme.CA()


def server_context(*, by: Any = None, **certificate: Any) -> ssl.SSLContext:
    """For a server whose certificate the authority has issued, or another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (by or authority()).issue_cert(NAME, **certificate).configure_cert(context)
    return context


def client_context() -> ssl.SSLContext:
    """For a client that trusts the authority, and checks names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


class TlsPeer(ReceivingEnd):
    """One raw end of a TLS connection.

    :ivar peer: what is under it.
    :ivar tls: the connection itself; what it has to say waits until ``flush``.
    """

    def __init__(self, peer: Peer, context: ssl.SSLContext, *, server_side: bool = False) -> None:
        self.peer = peer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, None if server_side else NAME)

    def unsent(self) -> bytes:
        """What it has to say; who takes it sends it."""
        return self._outgoing.read()

    async def flush(self) -> None:
        await self.peer.send_all(self.unsent())

    async def shake_hands(self) -> None:
        await self._until_done(self.tls.do_handshake)

    async def send_all(self, data: bytes) -> None:
        self.tls.write(data)
        await self.flush()

    async def receive_some(self, most: int) -> bytes:
        """At least one byte, or ``b""`` after the closing message.

        :raises ssl.SSLEOFError: at an end without one.
        """
        try:
            return await self._until_done(lambda: self.tls.read(most))
        except ssl.SSLZeroReturnError:
            return b""

    async def say_goodbye(self) -> None:
        """Sends the closing message, and waits for none."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        await self.flush()

    async def _until_done(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                pass
            finally:
                await self.flush()
            await self._take(self.peer.receive_some(1 << 16))

    async def _take(self, more: Awaitable[bytes]) -> None:
        data = await more
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def only(context: ssl.SSLContext, version: str) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


@asynccontextmanager
async def encrypted_stream(
    version: str = "1.3", *, server_side: bool = False, **options: Any
) -> AsyncIterator[tuple[bridgeio.Reader, bridgeio.Writer, TlsPeer]]:
    """A stream of ours under TLS, and a raw peer that speaks it too."""
    async with peer_stream() as (reader, writer, raw):
        mine, others = only(client_context(), version), only(server_context(), version)
        if server_side:
            mine, others = others, mine
        peer = TlsPeer(raw, others, server_side=not server_side)
        async with bridgeio.create_task_group() as group:
            group.start_soon(peer.shake_hands)
            name = None if server_side else NAME
            await writer.start_tls(mine, server_side=server_side, server_hostname=name, **options)
        yield reader, writer, peer
