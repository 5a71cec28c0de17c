"""Serving what a framework's own server has accepted, and old code that answers with Deferreds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, is_over
from bridgeio.testing.resources import until
from needs import absent

Serve = Callable[[Any], Awaitable[None]]


async def shout(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    writer.write(b"welcome\n")
    async for line in reader:
        if line == b"fail\n":
            raise LookupError("as asked")
        writer.write(line.upper())
        await writer.drain()


@asynccontextmanager
async def _asyncio_server(serve: Any, folder: Path) -> AsyncIterator[Any]:
    server = await asyncio.start_server(lambda reader, writer: serve((reader, writer)), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


@asynccontextmanager
async def _asyncio_unix_server(serve: Any, folder: Path) -> AsyncIterator[Any]:
    server = await asyncio.start_unix_server(lambda reader, writer: serve((reader, writer)), folder / "s")
    async with server:
        yield str(folder / "s")


@asynccontextmanager
async def _trio_server(serve: Any, folder: Path) -> AsyncIterator[Any]:
    import trio

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _tornado_server(serve: Any, folder: Path) -> AsyncIterator[Any]:
    from tornado.tcpserver import TCPServer
    from tornado.testing import bind_unused_port

    class Server(TCPServer):
        async def handle_stream(self, stream: Any, address: Any) -> None:
            await serve(stream)

    sock, port = bind_unused_port()
    server = Server()
    server.add_socket(sock)
    yield ("127.0.0.1", port)
    server.stop()


@asynccontextmanager
async def _twisted_endpoint(serve: Any, folder: Path, *, unix: bool = False) -> AsyncIterator[Any]:
    from twisted.internet import reactor
    from twisted.internet.endpoints import serverFromString

    from bridgeio_twisted import server_factory

    factory = server_factory(serve)
    where = f"unix:{folder / 's'}" if unix else "tcp:0:interface=127.0.0.1"
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
    "Twisted TCP endpoint": ("twisted", _twisted_endpoint),
    "Twisted UNIX endpoint": ("twisted", partial(_twisted_endpoint, unix=True)),
    "gevent StreamServer": ("gevent", _gevent_server),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_frameworks_own_server(name: str, socket_folder: Path) -> None:
    """Many connections: each gets its answers, a failing one is reported, and one that is left is ended."""
    backend, serving = SERVERS[name]
    if backend not in bridgeio.available_backends():
        absent(f"{backend} is not installed")
    failures: list[Exception] = []
    ended: list[bridgeio.Writer] = []

    async def counted(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        try:
            await shout(reader, writer)
        finally:
            ended.append(writer)

    serve = partial(bridgeio.serve_stream, counted, on_error=lambda error, peer: failures.append(error))

    async def main() -> None:
        with bridgeio.fail_after(25):
            async with serving(serve, socket_folder) as address:
                for number in range(10):
                    with Peer.connect(address) as peer:
                        peer.send(b"hello %d\n" % number)
                        answer = b"welcome\nHELLO %d\n" % number
                        assert await peer.receive(len(answer)) == answer
                        peer.half_close()
                        assert await peer.receive_all() == b""
                with Peer.connect(address) as peer:
                    peer.send(b"fail\n")
                    assert await peer.receive_all() == b"welcome\n"
                await until(lambda: failures)
                left = Peer.connect(address)
                assert await left.receive(8) == b"welcome\n"
                left.half_close()
                assert await is_over(left)
                left.close()
                await until(lambda: len(ended) == 12)  # or the end of the run would end them

    bridgeio.run(main, backend=backend)
    assert [type(error) for error in failures] == [LookupError]


def test_the_handlers_of_a_twisted_endpoint_end() -> None:
    """A factory's ``cancel`` ends the handlers, and its Deferred fires after their cleanup."""
    if "twisted" not in bridgeio.available_backends():
        absent("Twisted is not installed")
    seen: list[str] = []

    async def wait(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        seen.append("started")
        try:
            await reader.read()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.01)
                seen.append("cleaned up")

    async def main() -> None:
        async with _twisted_endpoint(partial(bridgeio.serve_stream, wait), Path()) as address:
            peer = Peer.connect(address)
            await until(lambda: seen)
        with peer:
            assert seen == ["started", "cleaned up"]
            assert await is_over(peer)

    bridgeio.run(main, backend="twisted")


def test_a_service_that_answers_with_deferreds() -> None:
    """A class of the user's whose methods return Deferreds is awaited in a handler; so is one that fails."""
    pytest.importorskip("twisted")
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, inlineCallbacks
    from twisted.internet.task import deferLater

    from bridgeio_twisted import as_deferred

    class Prices:
        """As it has always been."""

        def of(self, fruit: str) -> Deferred[int]:
            return deferLater(reactor, 0.001, {"apple": 3, "pear": 4}.__getitem__, fruit)

        @inlineCallbacks
        def both(self) -> Any:
            apple = yield self.of("apple")
            pear = yield self.of("pear")
            return apple + pear

    async def sell(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        prices = Prices()
        writer.write(b"%d\n" % await prices.both())
        async for line in reader:
            try:
                writer.write(b"%d\n" % await prices.of(line.decode().strip()))
            except KeyError:
                writer.write(b"none\n")

    async def main() -> None:
        async with _twisted_endpoint(partial(bridgeio.serve_stream, sell), Path()) as address:
            with Peer.connect(address) as peer:
                peer.send(b"apple\npear\nplum\n")
                assert await peer.receive(11) == b"7\n3\n4\nnone\n"
        assert await as_deferred(_priced(Prices())) == 3

    async def _priced(prices: Prices) -> int:
        return await prices.of("apple")

    bridgeio.run(main, backend="twisted")
