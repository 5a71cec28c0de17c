"""Each framework's own server, which hands what it accepts to a function of one native stream."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import bridgeio
from bridgeio.testing.tls_peers import NAME, authority

__all__ = ["SERVERS", "TLS_SERVERS", "shout", "twisted_endpoint"]

Serve = Callable[[Any], Awaitable[None]]
Context = ssl.SSLContext | None


async def shout(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    writer.write(b"welcome\n")
    async for line in reader:
        if line == b"fail\n":
            raise LookupError("as asked")
        writer.write(line.upper())
        await writer.drain()


@asynccontextmanager
async def _asyncio_server(serve: Any, folder: Path, context: Context = None) -> AsyncIterator[Any]:
    server = await asyncio.start_server(lambda reader, writer: serve((reader, writer)), "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()


@asynccontextmanager
async def _asyncio_unix_server(serve: Any, folder: Path) -> AsyncIterator[Any]:
    server = await asyncio.start_unix_server(lambda reader, writer: serve((reader, writer)), folder / "s")
    async with server:
        yield str(folder / "s")


@asynccontextmanager
async def _trio_server(serve: Any, folder: Path, context: Context = None) -> AsyncIterator[Any]:
    import trio

    listening: Any = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
    if context is not None:
        listening = partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(listening)
        yield getattr(listener, "transport_listener", listener).socket.getsockname()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _tornado_server(serve: Any, folder: Path, context: Context = None) -> AsyncIterator[Any]:
    from tornado.tcpserver import TCPServer
    from tornado.testing import bind_unused_port

    class Server(TCPServer):
        async def handle_stream(self, stream: Any, address: Any) -> None:
            await serve(stream)

    sock, port = bind_unused_port()
    server = Server(ssl_options=context)
    server.add_socket(sock)
    yield ("127.0.0.1", port)
    server.stop()


@asynccontextmanager
async def twisted_endpoint(
    serve: Any, folder: Path, context: Context = None, *, unix: bool = False
) -> AsyncIterator[Any]:
    """Twisted's TLS takes no `ssl.SSLContext`, and is given files instead."""
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    from bridgeio_twisted import server_factory

    factory = server_factory(serve)
    where = f"unix:{folder / 's'}" if unix else "tcp:0:interface=127.0.0.1"
    if context is not None:
        papers = folder / "papers.pem"
        authority().issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(papers)
        where = f"ssl:0:privateKey={papers}:certKey={papers}:interface=127.0.0.1"
    port = await serverFromString(reactor, where).listen(factory)  # type: ignore[no-untyped-call]
    yield str(folder / "s") if unix else ("127.0.0.1", port.getHost().port)
    await port.stopListening()
    await factory.cancel()
    assert factory.connections == 0


@asynccontextmanager
async def _gevent_server(serve: Any, folder: Path) -> AsyncIterator[Any]:
    from gevent.server import StreamServer

    server = StreamServer(("127.0.0.1", 0), lambda sock, address: bridgeio.blocking(_awaited)(serve, sock))
    server.start()
    yield server.address
    server.stop()


async def _awaited(serve: Serve, native: Any) -> None:
    await serve(native)


SERVERS: dict[str, tuple[str, Any]] = {
    "asyncio.start_server": ("asyncio", _asyncio_server),
    "asyncio.start_server on uvloop": ("uvloop", _asyncio_server),
    "asyncio.start_unix_server": ("asyncio", _asyncio_unix_server),
    "trio.serve_tcp": ("trio", _trio_server),
    "Tornado TCPServer": ("tornado", _tornado_server),
    "Twisted TCP endpoint": ("twisted", twisted_endpoint),
    "Twisted UNIX endpoint": ("twisted", partial(twisted_endpoint, unix=True)),
    "gevent StreamServer": ("gevent", _gevent_server),
}

# These speak TLS by themselves, with the context that they are given.
TLS_SERVERS: dict[str, tuple[str, Any]] = {
    "asyncio.start_server": ("asyncio", _asyncio_server),
    "asyncio.start_server on uvloop": ("uvloop", _asyncio_server),
    "trio.serve_ssl_over_tcp": ("trio", _trio_server),
    "Tornado TCPServer": ("tornado", _tornado_server),
    "Twisted TLS endpoint": ("twisted", twisted_endpoint),
}
