"""A connection of each kind that `bridgeio.wrap` takes, opened in the framework's own way."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import bridgeio
from bridgeio.testing.peers import Peer, RawListener, raw_socket
from bridgeio.testing.tls_peers import NAME, authority
from needs import absent

__all__ = ["KINDS", "TLS_KINDS", "backend_of", "native_stream", "on_each_kind", "present", "wrapped"]

Connect = Callable[[Any, "ssl.SSLContext | None"], Awaitable[Any]]


async def _asyncio_pair(address: Any, context: ssl.SSLContext | None) -> Any:
    return await asyncio.open_connection(*address, ssl=context, server_hostname=NAME if context else None)


async def _trio_socket(address: Any, context: ssl.SSLContext | None) -> Any:
    import trio

    stream = await trio.open_tcp_stream(*address)
    return stream if context is None else trio.SSLStream(stream, context, server_hostname=NAME)


async def _trio_stream(address: Any, context: ssl.SSLContext | None) -> Any:
    import trio

    class Another(trio.abc.HalfCloseableStream):
        """A stream that is no socket's, as far as one can see."""

        def __init__(self, stream: trio.SocketStream) -> None:
            self._stream = stream

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            return await self._stream.receive_some(max_bytes)

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await self._stream.send_all(data)

        async def wait_send_all_might_not_block(self) -> None:
            await self._stream.wait_send_all_might_not_block()

        async def send_eof(self) -> None:
            await self._stream.send_eof()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Another(await trio.open_tcp_stream(*address))


async def _iostream(address: Any, context: ssl.SSLContext | None) -> Any:
    from tornado.iostream import IOStream

    plain = IOStream(raw_socket())  # a TCPClient asks a thread for the address
    await plain.connect(address)
    return plain if context is None else await plain.start_tls(False, context, NAME)


async def _twisted_transport(address: Any, context: ssl.SSLContext | None) -> Any:
    transport = (await _twisted_protocol(address, lambda factory: factory)).transport
    if context is not None:
        transport.startTLS(_twisted_options())
    return transport


async def _twisted_wrapper(address: Any, context: ssl.SSLContext | None) -> Any:
    from twisted.protocols.policies import WrappingFactory

    return (await _twisted_protocol(address, WrappingFactory if context is None else _twisted_tls)).transport


def _twisted_tls(factory: Any) -> Any:
    """As ``wrapClientTLS`` does for an endpoint."""
    from twisted.protocols.tls import TLSMemoryBIOFactory

    return TLSMemoryBIOFactory(_twisted_options(), True, factory)


def _twisted_options() -> Any:
    """Twisted's TLS takes no `ssl.SSLContext`."""
    from twisted.internet.ssl import Certificate, optionsForClientTLS

    return optionsForClientTLS(NAME, trustRoot=Certificate.loadPEM(authority().cert_pem.bytes()))


async def _twisted_protocol(address: Any, around: Callable[[Any], Any]) -> Any:
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ClientEndpoint
    from twisted.internet.protocol import Factory, Protocol

    connected: Deferred[Any] = Deferred()

    class Hold(Protocol):
        def connectionMade(self) -> None:
            connected.callback(self)

    inner = Factory.forProtocol(Hold)
    inner.noisy = False
    await TCP4ClientEndpoint(reactor, *address).connect(around(inner))
    return await connected


async def _anyio(address: Any, context: ssl.SSLContext | None) -> Any:
    import anyio

    if context is None:
        return await anyio.connect_tcp(*address)
    return await anyio.connect_tcp(*address, ssl_context=context, tls_hostname=NAME)


async def _gevent(address: Any, context: ssl.SSLContext | None) -> Any:
    import gevent.socket

    return gevent.socket.create_connection(address)


KINDS: dict[str, tuple[str, Connect]] = {
    "asyncio pair": ("asyncio", _asyncio_pair),
    "asyncio pair on uvloop": ("uvloop", _asyncio_pair),
    "asyncio pair on Tornado": ("tornado", _asyncio_pair),
    "trio.SocketStream": ("trio", _trio_socket),
    "trio.abc.Stream": ("trio", _trio_stream),
    "IOStream": ("tornado", _iostream),
    "Twisted transport": ("twisted", _twisted_transport),
    "Twisted ProtocolWrapper": ("twisted", _twisted_wrapper),
    "AnyIO on asyncio": ("asyncio", _anyio),
    "AnyIO on Trio": ("trio", _anyio),
    "gevent socket": ("gevent", _gevent),
}

# A TLS socket is refused.
TLS_KINDS = [
    "asyncio pair",
    "asyncio pair on uvloop",
    "trio.SocketStream",
    "IOStream",
    "Twisted transport",
    "Twisted ProtocolWrapper",
    "AnyIO on asyncio",
    "AnyIO on Trio",
]


def present(kind: str) -> str:
    """Skips the test where what the kind needs is not installed."""
    if backend_of(kind) not in bridgeio.available_backends():
        absent(f"{backend_of(kind)} is not installed")
    if kind.startswith("AnyIO") and importlib.util.find_spec("anyio") is None:
        absent("anyio is not installed")
    return kind


def on_each_kind(test: Callable[[str], Coroutine[Any, Any, None]]) -> Any:
    """The test runs on the backend that the kind belongs to. Its parameter is the name of a fixture."""

    async def main(kind: str) -> None:
        with bridgeio.fail_after(25):
            await test(kind)

    @functools.wraps(test)
    def run(**kinds: str) -> None:
        (kind,) = kinds.values()
        bridgeio.run(main, kind, backend=backend_of(kind))

    return run


def backend_of(kind: str) -> str:
    return KINDS[kind][0]


@asynccontextmanager
async def native_stream(kind: str) -> AsyncIterator[tuple[Any, Peer]]:
    """A stream of that kind, and the raw peer at its other end."""
    with RawListener() as listener:
        native = await KINDS[kind][1](listener.address, None)
        with await listener.accept() as peer:
            yield native, peer


@asynccontextmanager
async def wrapped(kind: str, **options: Any) -> AsyncIterator[tuple[bridgeio.Reader, bridgeio.Writer, Peer]]:
    async with native_stream(kind) as (native, peer):
        reader, writer = bridgeio.wrap(native, **options)
        try:
            yield reader, writer, peer
        finally:
            writer.abort()
