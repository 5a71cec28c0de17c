"""Each framework's own UDP beside bridgeio's, in one loop: neither takes the other's events."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import unchanged
from bridgeio.unpatched import original

Echo = Callable[[], AbstractAsyncContextManager[tuple[str, int]]]

LOOPBACK = ("127.0.0.1", 0)


@asynccontextmanager
async def asyncios() -> AsyncIterator[tuple[str, int]]:
    import asyncio

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data, addr)

    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(LOOPBACK)  # not by the loop: uvloop starts threads for the look at an address, and keeps them
    sock.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, sock=sock)
    try:
        yield transport.get_extra_info("sockname")
    finally:
        transport.close()


@asynccontextmanager
async def trios() -> AsyncIterator[tuple[str, int]]:
    import trio

    async def echo() -> None:
        while True:
            data, address = await sock.recvfrom(65536)
            await sock.sendto(data, address)

    with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
        await sock.bind(LOOPBACK)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo)
            yield sock.getsockname()
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def twisteds() -> AsyncIterator[tuple[str, int]]:
    from twisted.internet import reactor
    from twisted.internet.protocol import DatagramProtocol

    class Protocol(DatagramProtocol):
        noisy = False

        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            port.write(datagram, addr)

    port: Any = reactor.listenUDP(0, Protocol(), interface="127.0.0.1", maxPacketSize=65536)
    port.noisy = False
    try:
        yield "127.0.0.1", port.getHost().port
    finally:
        with bridgeio.CancelScope(shield=True):
            await port.stopListening()


@asynccontextmanager
async def gevents() -> AsyncIterator[tuple[str, int]]:
    import gevent.server

    def echo(data: Any, address: Any) -> None:
        server.sendto(data, address)

    server: Any = gevent.server.DatagramServer("127.0.0.1:0", echo)
    server.start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.stop()


@asynccontextmanager
async def a_threads() -> AsyncIterator[tuple[str, int]]:
    ended = original("_thread", "allocate_lock")()
    ended.acquire()

    def echo() -> None:
        while (received := sock.recvfrom(65536))[0] != b"enough":
            sock.sendto(*received)
        ended.release()

    with original("socket", "socket")(type=socket.SOCK_DGRAM) as sock:
        sock.bind(LOOPBACK)
        original("_thread", "start_new_thread")(echo, ())
        try:
            yield sock.getsockname()
        finally:
            sock.sendto(b"enough", sock.getsockname())
            ended.acquire()


NATIVE: dict[str, Echo] = {
    "asyncio": asyncios,
    "uvloop": asyncios,
    "tornado": asyncios,
    "trio": trios,
    "twisted": twisteds,
    "gevent": gevents,
    "threads": a_threads,
}

SIZES = [0, 1, 100, 8192, 8193, 60_000]

# What they do not carry themselves: gevent's server reads 8,192 bytes, asyncio's transport sends nothing for nothing.
MOST = {"gevent": 8192}
LEAST = {"asyncio": 1, "uvloop": 1, "tornado": 1}


@pytest.mark.bridgeio(*NATIVE)
async def test_the_frameworks_own_udp(backend: str) -> None:
    """Datagrams of every size go there and come back, one at a time and in a burst; and nothing is left of either."""
    sizes = [size for size in SIZES if LEAST.get(backend, 0) <= size <= MOST.get(backend, 65536)]
    async with unchanged(), NATIVE[backend]() as address, bridgeio.create_task_group() as group:
        udp = await bridgeio.create_udp_socket(local_host="127.0.0.1")
        connected = await bridgeio.create_connected_udp_socket(*address)
        async with udp, connected:
            group.start_soon(each_size_comes_back, connected, sizes)
            for size in sizes:
                await udp.sendto(bytes(size), *address)
                assert await udp.receive() == (bytes(size), address)
            for number in range(50):
                await udp.sendto(b"%d" % number, *address)
            assert sorted([int((await udp.receive())[0]) for _ in range(50)]) == list(range(50))
            while connected.statistics().received < len(sizes):
                await bridgeio.sleep(0.001)


async def each_size_comes_back(udp: bridgeio.ConnectedUDPSocket, sizes: list[int]) -> None:
    for size in sizes:
        await udp.send(bytes(size))
        assert await udp.receive() == bytes(size)
