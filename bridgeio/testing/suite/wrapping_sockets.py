"""Chapter: wrapping sockets. One that somebody has connected is taken over."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import FAMILIES, Flood, Peer, RawListener, free_address, raw_socket

pytestmark = pytest.mark.bridgeio

_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@asynccontextmanager
async def _connected(address: Any = ("127.0.0.1", 0)) -> AsyncIterator[tuple[socket.socket, Peer]]:
    """A blocking socket of the system's, and the peer that it is connected to."""
    with RawListener(address) as listener:
        sock = Peer.connect(listener.address).sock
        sock.setblocking(True)
        try:
            with await listener.accept() as peer:
                yield sock, peer
        finally:
            sock.close()


@_EACH_FAMILY
async def test_a_wrapped_socket_speaks_both_ways(family: str, socket_folder: Path) -> None:
    """What the peer sent before and after is read, what is written arrives, and each direction ends alone."""
    async with _connected(free_address(family, socket_folder)) as (sock, peer):
        peer.send(b"before\n")
        reader, writer = bridgeio.wrap(sock)
        peer.send(b"after\n")
        assert [await reader.readline() for _ in range(2)] == [b"before\n", b"after\n"]
        writer.write(b"hello")
        writer.write_eof()
        assert await peer.receive_all() == b"hello"
        peer.send(b"goodbye")
        peer.half_close()
        assert await reader.read() == b"goodbye"
        async with writer:
            assert not writer.is_closing()


async def test_a_wrapped_socket_is_taken_over() -> None:
    """The object given is detached, the descriptor is closed with the writer, and the new socket can be asked for."""
    async with _connected() as (sock, peer):
        number, name, far = sock.fileno(), sock.getsockname(), sock.getpeername()
        _, writer = bridgeio.wrap(sock)
        assert sock.fileno() == -1
        assert writer.get_extra_info("native").fileno() == writer.get_extra_info("socket").fileno() == number
        assert (writer.get_extra_info("sockname"), writer.get_extra_info("peername")) == (name, far)
        writer.close()
        await writer.wait_closed()
        assert await peer.receive_all() == b""


async def test_a_wrapped_socketpair() -> None:
    """Sockets without names are streams like others."""
    one, other = socket.socketpair()
    (reader, writer), (far_reader, far_writer) = bridgeio.wrap(one), bridgeio.wrap(other)
    async with writer, far_writer:
        writer.write(b"there\n")
        far_writer.write(b"back\n")
        assert (await far_reader.readline(), await reader.readline()) == (b"there\n", b"back\n")


async def test_aborting_a_wrapped_socket_resets() -> None:
    """The peer sees a reset, and a read that waits raises."""
    async with _connected() as (sock, peer):
        reader, writer = bridgeio.wrap(sock)
        async with bridgeio.create_task_group() as group:
            group.start_soon(_fails_closed, reader)
            await bridgeio.lowlevel.checkpoint()
            writer.abort()
        assert await peer.sees_reset()


async def test_bounds_of_a_wrapped_stream() -> None:
    """``limit`` and ``write_limit`` hold."""
    async with _connected() as (sock, peer):
        reader, writer = bridgeio.wrap(sock, limit=10, write_limit=20)
        peer.send(b"x" * 12)
        with pytest.raises(bridgeio.LimitOverrunError):
            await reader.readline()
        with pytest.raises(bridgeio.WriteBufferFullError):
            writer.write(bytes(21))
        writer.abort()


@pytest.mark.parametrize("thing", [None, b"bytes", 3, object(), (1, 2), open])
async def test_what_cannot_be_wrapped(thing: Any) -> None:
    """A TypeError that says what can be, each once, also where two frameworks are around."""
    with pytest.raises(TypeError, match=r"stream socket.*receive\(\), send\(\) and aclose\(\)") as caught:
        bridgeio.wrap(thing)
    assert str(caught.value).count("asyncio.StreamReader") <= 1


async def test_sockets_that_cannot_be_wrapped() -> None:
    """One that is not connected, one for datagrams: an error at once, and the socket is left to its owner."""
    with raw_socket() as unconnected:
        with pytest.raises(OSError, match="not connected"):
            bridgeio.wrap(unconnected)
        assert unconnected.fileno() >= 0
    one, other = socket.socketpair(type=socket.SOCK_DGRAM)
    with one, other:
        with pytest.raises(ValueError, match="a stream socket"):
            bridgeio.wrap(one)
        assert one.fileno() >= 0


async def test_a_limit_that_is_none() -> None:
    """Is refused before anything is taken."""
    async with _connected() as (sock, _):
        with pytest.raises(ValueError, match="limit"):
            bridgeio.wrap(sock, limit=0)
        assert sock.fileno() >= 0


async def test_a_flood_into_a_wrapped_socket_is_stopped() -> None:
    """A peer that sends to a reader that does not read is stopped by the system's buffers."""
    with RawListener() as listener:
        with Flood(listener.address) as flood:
            reader, writer = bridgeio.wrap((await listener.accept()).sock)
            await _stands_still(lambda: flood.sent)
            assert len(await reader.read(100)) == 100
        writer.abort()


async def _shout(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    async for line in reader:
        if line == b"fail\n":
            raise LookupError("as asked")
        writer.write(line.upper())


async def test_a_failing_handler_of_an_accepted_stream() -> None:
    """Is reported as a server reports it, and not to the caller."""
    failures: list[tuple[Exception, Any]] = []
    async with _connected() as (sock, peer):
        far = sock.getpeername()
        serving = bridgeio.serve_stream(_shout, sock, on_error=lambda error, peer: failures.append((error, peer)))
        peer.send(b"fail\n")
        await serving
        assert await peer.receive_all() == b""
    assert [(type(error), peer) for error, peer in failures] == [(LookupError, far)]


async def _fails_closed(reader: bridgeio.Reader) -> None:
    with pytest.raises(bridgeio.StreamClosedError):
        await reader.read(1)


async def _stands_still(measure: Callable[[], int]) -> None:
    """Waits until a number has not changed for a while."""
    before, same = -1, 0
    while same < 20:
        now = measure()
        same = same + 1 if now == before else 0
        before = now
        await bridgeio.sleep(0.005)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
