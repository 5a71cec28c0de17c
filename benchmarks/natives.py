"""The same echo server in each framework's own words, as its maintainers would write it.

Every twin sets the same socket options as bridgeio does, receives at most 64 KiB at a time, and
replies with what it received. `NATIVES` names them.
"""

from __future__ import annotations

import asyncio
import socket
import socketserver
import sys
from collections.abc import Callable
from typing import Any

CHUNK = 65536
NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)

Announce = Callable[[int], None]


def tune(sock: Any) -> None:
    """What bridgeio sets on each connection."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if NOTSENT_LOWAT is not None:
        sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, 16 * 1024)


async def _asyncio_streams(announce: Announce) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tune(writer.get_extra_info("socket"))
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _EchoProtocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        tune(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def _asyncio_protocol(announce: Announce) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_EchoProtocol, "127.0.0.1", 0, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def asyncio_streams(announce: Announce) -> None:
    asyncio.run(_asyncio_streams(announce))


def asyncio_protocol(announce: Announce) -> None:
    asyncio.run(_asyncio_protocol(announce))


def uvloop_streams(announce: Announce) -> None:
    import uvloop

    uvloop.run(_asyncio_streams(announce))


def uvloop_protocol(announce: Announce) -> None:
    import uvloop

    uvloop.run(_asyncio_protocol(announce))


def trio_streams(announce: Announce) -> None:
    import trio

    async def echo(stream: trio.SocketStream) -> None:
        tune(stream.socket)
        async for data in stream:
            await stream.send_all(data)

    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)
        announce(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(echo, listeners)

    trio.run(main)


def tornado_streams(announce: Announce) -> None:
    from tornado.iostream import IOStream, StreamClosedError
    from tornado.tcpserver import TCPServer

    class EchoServer(TCPServer):
        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            tune(stream.socket)
            try:
                while True:
                    await stream.write(await stream.read_bytes(CHUNK, partial=True))
            except StreamClosedError:
                return

    async def main() -> None:
        server = EchoServer(read_chunk_size=CHUNK)
        server.listen(0, "127.0.0.1", backlog=4096)
        announce(next(iter(server._sockets.values())).getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


def twisted_protocol(announce: Announce) -> None:
    import twisted.internet.reactor
    from twisted.internet import protocol

    reactor: Any = twisted.internet.reactor

    class Echo(protocol.Protocol):
        transport: Any

        def connectionMade(self) -> None:
            tune(self.transport.getHandle())

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    factory = protocol.Factory.forProtocol(Echo)
    port = reactor.listenTCP(0, factory, backlog=4096, interface="127.0.0.1")
    announce(port.getHost().port)
    reactor.run()


def gevent_streams(announce: Announce) -> None:
    from gevent.server import StreamServer

    def echo(sock: Any, address: Any) -> None:
        tune(sock)
        while data := sock.recv(CHUNK):
            sock.sendall(data)

    server = StreamServer(("127.0.0.1", 0), echo, backlog=4096)
    server.start()
    announce(server.server_port)
    server.serve_forever()


def threads_sockets(announce: Announce) -> None:
    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            tune(self.request)
            while data := self.request.recv(CHUNK):
                self.request.sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 4096
        daemon_threads = True

    with Server(("127.0.0.1", 0), Echo) as server:
        announce(server.server_address[1])
        server.serve_forever()


def anyio_streams(announce: Announce, backend: str = "asyncio") -> None:
    import anyio

    async def echo(stream: Any) -> None:
        async with stream:
            tune(stream.extra(anyio.abc.SocketAttribute.raw_socket))
            async for data in stream:
                await stream.send(data)

    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0, backlog=4096)
        announce(listener.extra(anyio.abc.SocketAttribute.local_port))
        await listener.serve(echo)

    anyio.run(main, backend=backend)


NATIVES: dict[str, Callable[[Announce], None]] = {
    "asyncio streams": asyncio_streams,
    "asyncio Protocol": asyncio_protocol,
    "uvloop streams": uvloop_streams,
    "uvloop Protocol": uvloop_protocol,
    "trio SocketStream": trio_streams,
    "tornado IOStream": tornado_streams,
    "twisted Protocol": twisted_protocol,
    "gevent StreamServer": gevent_streams,
    "threads socketserver": threads_sockets,
    "anyio on asyncio": anyio_streams,
}

# What each backend of ours is held against, its first entry being the one that counts.
TWINS: dict[str, tuple[str, ...]] = {
    "asyncio": ("asyncio streams", "asyncio Protocol", "anyio on asyncio"),
    "uvloop": ("uvloop streams", "uvloop Protocol"),
    "trio": ("trio SocketStream",),
    "tornado": ("tornado IOStream",),
    "twisted": ("twisted Protocol",),
    "gevent": ("gevent StreamServer",),
    "threads": ("threads socketserver",),
}

if sys.platform == "win32":
    raise ImportError("the benchmarks read /proc, as Linux has it")
