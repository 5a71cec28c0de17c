"""The same servers in each framework's own words, as its maintainers would write them.

Each does one job for a connection: ``echo`` replies with whatever came, ``lines`` replies line by line, ``sink`` takes
1 MiB and replies with its last byte, ``source`` replies to each byte with 1 MiB. Every twin sets the same socket
options as bridgeio does, and asks for at most 64 KiB at a time. `NATIVES` names them, `TWINS` whose they are.

Reply logic is a framework's usual one: who has ``readline`` calls it, and who has not splits by hand.
"""

from __future__ import annotations

import asyncio
import socket
import socketserver
import ssl
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

__all__ = ["CHUNK", "MEBIBYTE", "NATIVES", "TWINS", "Announce", "Native", "server_context", "tune"]

CHUNK = 65536
MEBIBYTE = bytes(range(256)) * 4096  # what a source sends
NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)

Announce = Callable[[int], None]
Native = Callable[[str, Announce, str | None], None]
"""Serves one job until it is killed, with a certificate under TLS; announces its port."""


def tune(sock: Any) -> None:
    """What bridgeio sets on each connection."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if NOTSENT_LOWAT is not None:
        sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, 16 * 1024)


def server_context(certificate: str | None) -> ssl.SSLContext | None:
    """The same for everybody: what the standard library says is right for a server."""
    if certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


# asyncio, and uvloop under it


async def _stream_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _stream_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def _stream_sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    missing = len(MEBIBYTE)
    while data := await reader.read(min(CHUNK, missing)):
        missing -= len(data)
        if not missing:
            writer.write(data[-1:])
            await writer.drain()
            missing = len(MEBIBYTE)


async def _stream_source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1):
        writer.write(MEBIBYTE)
        await writer.drain()


STREAM_JOBS = {"echo": _stream_echo, "lines": _stream_lines, "sink": _stream_sink, "source": _stream_source}


async def _asyncio_streams(job: str, announce: Announce, certificate: str | None) -> None:
    serve = STREAM_JOBS[job]
    context = server_context(certificate)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tune(writer.get_extra_info("socket"))
        await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=4096, ssl=context)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def asyncio_streams(job: str, announce: Announce, certificate: str | None) -> None:
    asyncio.run(_asyncio_streams(job, announce, certificate))


def uvloop_streams(job: str, announce: Announce, certificate: str | None) -> None:
    import uvloop

    uvloop.run(_asyncio_streams(job, announce, certificate))


class _Tuned(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        tune(transport.get_extra_info("socket"))


class _EchoProtocol(_Tuned):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class _LinesProtocol(_Tuned):
    buffer = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            self.transport.write(line + b"\n")


class _SinkProtocol(_Tuned):
    missing = len(MEBIBYTE)

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)  # the next message begins only when this one was answered
        if not self.missing:
            self.transport.write(data[-1:])
            self.missing = len(MEBIBYTE)


class _SourceProtocol(_Tuned):
    def data_received(self, data: bytes) -> None:
        self.transport.writelines([MEBIBYTE] * len(data))


PROTOCOL_JOBS = {"echo": _EchoProtocol, "lines": _LinesProtocol, "sink": _SinkProtocol, "source": _SourceProtocol}


async def _asyncio_protocol(job: str, announce: Announce, certificate: str | None) -> None:
    loop = asyncio.get_running_loop()
    context = server_context(certificate)
    server = await loop.create_server(PROTOCOL_JOBS[job], "127.0.0.1", 0, backlog=4096, ssl=context)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def asyncio_protocol(job: str, announce: Announce, certificate: str | None) -> None:
    asyncio.run(_asyncio_protocol(job, announce, certificate))


def uvloop_protocol(job: str, announce: Announce, certificate: str | None) -> None:
    import uvloop

    uvloop.run(_asyncio_protocol(job, announce, certificate))


# Trio: no lines of its own, so they are split as its tutorial does


async def _trio_echo(stream: Any) -> None:
    async for data in stream:
        await stream.send_all(data)


async def _trio_lines(stream: Any) -> None:
    buffer = bytearray()
    async for data in stream:
        buffer += data
        while (end := buffer.find(b"\n") + 1) > 0:
            line = bytes(buffer[:end])
            del buffer[:end]
            await stream.send_all(line)


async def _trio_sink(stream: Any) -> None:
    missing = len(MEBIBYTE)
    async for data in stream:
        missing -= len(data)
        if not missing:
            await stream.send_all(data[-1:])
            missing = len(MEBIBYTE)


async def _trio_source(stream: Any) -> None:
    while await stream.receive_some(1):
        await stream.send_all(MEBIBYTE)


TRIO_JOBS: dict[str, Callable[[Any], Awaitable[None]]] = {
    "echo": _trio_echo,
    "lines": _trio_lines,
    "sink": _trio_sink,
    "source": _trio_source,
}


def trio_streams(job: str, announce: Announce, certificate: str | None) -> None:
    import trio

    serve = TRIO_JOBS[job]
    context = server_context(certificate)

    async def handle(stream: trio.SocketStream) -> None:
        tune(stream.socket)
        with suppress(trio.BrokenResourceError):  # a peer that resets would end the server
            if context is None:
                await serve(stream)
            else:
                async with trio.SSLStream(stream, context, server_side=True, https_compatible=True) as encrypted:
                    await serve(encrypted)

    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)
        announce(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(handle, listeners)

    trio.run(main)


# Tornado


async def _tornado_echo(stream: Any) -> None:
    while True:
        await stream.write(await stream.read_bytes(CHUNK, partial=True))


async def _tornado_lines(stream: Any) -> None:
    while True:
        await stream.write(await stream.read_until(b"\n"))


async def _tornado_sink(stream: Any) -> None:
    missing = len(MEBIBYTE)
    while True:
        data = await stream.read_bytes(min(CHUNK, missing), partial=True)
        missing -= len(data)
        if not missing:
            await stream.write(data[-1:])
            missing = len(MEBIBYTE)


async def _tornado_source(stream: Any) -> None:
    while True:
        await stream.read_bytes(1)
        await stream.write(MEBIBYTE)


TORNADO_JOBS: dict[str, Callable[[Any], Awaitable[None]]] = {
    "echo": _tornado_echo,
    "lines": _tornado_lines,
    "sink": _tornado_sink,
    "source": _tornado_source,
}


def tornado_streams(job: str, announce: Announce, certificate: str | None) -> None:
    from tornado.iostream import IOStream, StreamClosedError
    from tornado.netutil import bind_sockets
    from tornado.tcpserver import TCPServer

    serve = TORNADO_JOBS[job]

    class Server(TCPServer):
        async def handle_stream(self, stream: IOStream, address: Any) -> None:
            tune(stream.socket)
            try:
                await serve(stream)
            except StreamClosedError:
                return

    async def main() -> None:
        server = Server(read_chunk_size=CHUNK, ssl_options=server_context(certificate))
        sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
        server.add_sockets(sockets)
        announce(sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


# Twisted: callbacks, and a coroutine over Deferreds


def _twisted_protocols() -> dict[str, Any]:
    from twisted.internet import protocol
    from twisted.protocols.basic import LineOnlyReceiver

    class Tuned(protocol.Protocol):
        transport: Any

        def connectionMade(self) -> None:
            tune(self.transport.getHandle())

    class Echo(Tuned):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    class Lines(LineOnlyReceiver):
        delimiter = b"\n"
        transport: Any

        def connectionMade(self) -> None:
            tune(self.transport.getHandle())

        def lineReceived(self, line: bytes) -> None:
            self.transport.writeSequence((line, b"\n"))

    class Sink(Tuned):
        missing = len(MEBIBYTE)

        def dataReceived(self, data: bytes) -> None:
            self.missing -= len(data)
            if not self.missing:
                self.transport.write(data[-1:])
                self.missing = len(MEBIBYTE)

    class Source(Tuned):
        def dataReceived(self, data: bytes) -> None:
            self.transport.writeSequence([MEBIBYTE] * len(data))

    return {"echo": Echo, "lines": Lines, "sink": Sink, "source": Source}


def _twisted_coroutine() -> Any:
    from twisted.internet import defer, protocol

    class Echo(protocol.Protocol):
        transport: Any

        def connectionMade(self) -> None:
            tune(self.transport.getHandle())
            self.received: defer.DeferredQueue[bytes] = defer.DeferredQueue()
            defer.ensureDeferred(self.echo())

        def dataReceived(self, data: bytes) -> None:
            self.received.put(data)

        def connectionLost(self, reason: Any = None) -> None:
            self.received.put(b"")

        async def echo(self) -> None:
            while data := await self.received.get():
                self.transport.write(data)

    return Echo


def _serve_twisted(kind: Any, announce: Announce, certificate: str | None) -> None:
    import twisted.internet.reactor
    from twisted.internet import protocol

    if certificate is not None:
        raise SystemExit("Twisted's own TLS is pyOpenSSL's: it is no twin of a context of the ssl module")
    reactor: Any = twisted.internet.reactor
    port = reactor.listenTCP(0, protocol.Factory.forProtocol(kind), backlog=4096, interface="127.0.0.1")
    announce(port.getHost().port)
    reactor.run()


def twisted_protocol(job: str, announce: Announce, certificate: str | None) -> None:
    _serve_twisted(_twisted_protocols()[job], announce, certificate)


def twisted_coroutine(job: str, announce: Announce, certificate: str | None) -> None:
    if job != "echo":
        raise SystemExit("there is a coroutine over Deferreds for echo alone")
    _serve_twisted(_twisted_coroutine(), announce, certificate)


# gevent and threads: blocking sockets


def _socket_echo(sock: Any) -> None:
    while data := sock.recv(CHUNK):
        sock.sendall(data)


def _socket_lines(sock: Any) -> None:
    with sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(line)


def _socket_sink(sock: Any) -> None:
    missing = len(MEBIBYTE)
    while data := sock.recv(min(CHUNK, missing)):
        missing -= len(data)
        if not missing:
            sock.sendall(data[-1:])
            missing = len(MEBIBYTE)


def _socket_source(sock: Any) -> None:
    while sock.recv(1):
        sock.sendall(MEBIBYTE)


SOCKET_JOBS = {"echo": _socket_echo, "lines": _socket_lines, "sink": _socket_sink, "source": _socket_source}


def gevent_streams(job: str, announce: Announce, certificate: str | None) -> None:
    import gevent.ssl
    from gevent.server import StreamServer

    serve = SOCKET_JOBS[job]

    def handle(sock: Any, address: Any) -> None:
        tune(sock)
        serve(sock)

    options = {}
    if certificate is not None:
        context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # the standard library's would block the hub
        context.load_cert_chain(certificate)
        options["ssl_context"] = context
    server = StreamServer(("127.0.0.1", 0), handle, backlog=4096, **options)
    server.start()
    announce(server.socket.getsockname()[1])
    server.serve_forever()


def threads_sockets(job: str, announce: Announce, certificate: str | None) -> None:
    serve = SOCKET_JOBS[job]
    context = server_context(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            tune(self.request)
            if context is None:
                serve(self.request)
            else:
                serve(context.wrap_socket(self.request, server_side=True))

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 4096
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        announce(server.server_address[1])
        server.serve_forever()


# AnyIO


async def _anyio_echo(stream: Any) -> None:
    async for data in stream:
        await stream.send(data)


async def _anyio_lines(stream: Any) -> None:
    from anyio.streams.buffered import BufferedByteReceiveStream

    lines = BufferedByteReceiveStream(stream)
    while True:
        await stream.send(await lines.receive_until(b"\n", CHUNK) + b"\n")


async def _anyio_sink(stream: Any) -> None:
    missing = len(MEBIBYTE)
    while True:
        data = await stream.receive(min(CHUNK, missing))
        missing -= len(data)
        if not missing:
            await stream.send(data[-1:])
            missing = len(MEBIBYTE)


async def _anyio_source(stream: Any) -> None:
    while await stream.receive(1):
        await stream.send(MEBIBYTE)


ANYIO_JOBS: dict[str, Callable[[Any], Awaitable[None]]] = {
    "echo": _anyio_echo,
    "lines": _anyio_lines,
    "sink": _anyio_sink,
    "source": _anyio_source,
}


def _anyio_on(backend: str, options: dict[str, Any]) -> Native:
    def anyio_streams(job: str, announce: Announce, certificate: str | None) -> None:
        import anyio
        from anyio.streams.tls import TLSListener

        serve = ANYIO_JOBS[job]
        context = server_context(certificate)

        async def handle(stream: Any) -> None:
            tune(stream.extra(anyio.abc.SocketAttribute.raw_socket))
            async with stream:
                try:
                    await serve(stream)
                except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                    return

        async def main() -> None:
            listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0, backlog=4096)
            announce(listener.extra(anyio.abc.SocketAttribute.local_port))
            if context is not None:
                listener = TLSListener(listener, context, standard_compatible=False)
            await listener.serve(handle)

        anyio.run(main, backend=backend, backend_options=options)

    return anyio_streams


NATIVES: dict[str, Native] = {
    "asyncio streams": asyncio_streams,
    "asyncio Protocol": asyncio_protocol,
    "uvloop streams": uvloop_streams,
    "uvloop Protocol": uvloop_protocol,
    "trio SocketStream": trio_streams,
    "tornado IOStream": tornado_streams,
    "twisted Protocol": twisted_protocol,
    "twisted coroutine": twisted_coroutine,
    "gevent StreamServer": gevent_streams,
    "threads socketserver": threads_sockets,
    "anyio on asyncio": _anyio_on("asyncio", {}),
    "anyio on uvloop": _anyio_on("asyncio", {"use_uvloop": True}),
    "anyio on trio": _anyio_on("trio", {}),
}

# What each backend of ours is held against, its first entry being the framework's own streams.
TWINS: dict[str, tuple[str, ...]] = {
    "asyncio": ("asyncio streams", "asyncio Protocol", "anyio on asyncio"),
    "uvloop": ("uvloop streams", "uvloop Protocol", "anyio on uvloop"),
    "trio": ("trio SocketStream", "anyio on trio"),
    "tornado": ("tornado IOStream",),
    "twisted": ("twisted Protocol", "twisted coroutine"),
    "gevent": ("gevent StreamServer",),
    "threads": ("threads socketserver",),
}

if sys.platform == "win32":
    raise ImportError("the benchmarks read /proc, as Linux has it")
