"""Chapter: sweeps of datagrams and names. Each operation, cancelled at each of its waits: nothing lost, nothing left.

In these worlds a peer has what the operation wants, or makes room for it, when the operation waits for that.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.datagram_peers import RawDatagrams
from bridgeio.testing.neighbours import beside, soon
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio

# Receiving

RECEIVES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "receive": lambda sock: sock.receive(),
    "async for": anext,
}


@asynccontextmanager
async def _of_kind(kind: str, folder: Path) -> AsyncIterator[tuple[Any, RawDatagrams, Any]]:
    """A socket of bridgeio's, a raw peer, and where the peer sends to."""
    if kind in ("udp", "connected udp"):
        with RawDatagrams() as peer:
            async with await _udp(kind, peer.port) as sock:
                yield sock, peer, sock.get_extra_info("sockname")
        return
    path, ours = folder / "theirs", folder / "ours"
    try:
        with RawDatagrams(str(path)) as peer:
            async with await _unix(kind, path, ours) as sock:
                yield sock, peer, str(ours)
    finally:
        path.unlink()


async def _udp(kind: str, port: int) -> Any:
    if kind == "udp":
        return await bridgeio.create_udp_socket(local_host="127.0.0.1")
    return await bridgeio.create_connected_udp_socket("127.0.0.1", port)


async def _unix(kind: str, path: Path, ours: Path) -> Any:
    if kind == "unix":
        return await bridgeio.create_unix_datagram_socket(local_path=ours)
    return await bridgeio.create_connected_unix_datagram_socket(path, local_path=ours)


KINDS = ["udp", "connected udp", "unix", "connected unix"]


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", RECEIVES)
@pytest.mark.parametrize("kind", KINDS)
async def test_swept_receives(kind: str, name: str, socket_folder: Path) -> None:
    """A cancelled receive has taken nothing: every datagram is received once, in its order."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _of_kind(kind, socket_folder) as (sock, peer, address):
            got: list[Any] = []

            async def send(*, task_status: bridgeio.TaskStatus[None]) -> None:
                task_status.started()
                for number in range(3):
                    await soon(lambda: sock._source.reader is not None)
                    peer.send(b"%d" % number, address)

            async def receive(count: int) -> None:
                for _ in range(count):
                    data = await RECEIVES[name](sock)
                    got.append(data if isinstance(data, bytes) else data[0])

            async with beside(send):
                yield lambda: receive(2)
                await receive(3 - len(got))
            assert got == [b"0", b"1", b"2"]

    await sweep(world, name=f"{kind}: {name}")


# Sending

SENDS: dict[str, tuple[str, Callable[[Any, bytes, Any], Awaitable[None]]]] = {
    "UDPSocket.send": ("udp", lambda sock, data, address: sock.send((data, address))),
    "UDPSocket.sendto": ("udp", lambda sock, data, address: sock.sendto(data, *address)),
    "UDPSocket.sendto a name": ("udp", lambda sock, data, address: sock.sendto(data, "localhost", address[1])),
    "ConnectedUDPSocket.send": ("connected udp", lambda sock, data, address: sock.send(data)),
    "UNIXDatagramSocket.send": ("unix", lambda sock, data, address: sock.send((data, address))),
    "UNIXDatagramSocket.sendto": ("unix", lambda sock, data, address: sock.sendto(data, address)),
    "ConnectedUNIXDatagramSocket.send": ("connected unix", lambda sock, data, address: sock.send(data)),
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", SENDS)
async def test_swept_sends(name: str, socket_folder: Path) -> None:
    """A cancelled send has sent nothing, one that came back has sent once; to a full queue they wait."""
    kind, send = SENDS[name]

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _of_kind(kind, socket_folder) as (sock, peer, _):
            sent: list[bytes] = []
            got: list[bytes] = []
            with RawDatagrams(b"") as other:
                filled = other.fill(peer.address) if "unix" in kind else 0

            async def make_room(*, task_status: bridgeio.TaskStatus[None]) -> None:
                task_status.started()
                while True:
                    await soon(lambda: sock.statistics().tasks_waiting_send)
                    for _ in range(filled):
                        got.append((await peer.receive())[0])
                    await bridgeio.sleep_forever()

            async def operation() -> None:
                for number in range(3):
                    await send(sock, b"%d" % number, peer.address)
                    sent.append(b"%d" % number)

            async with beside(make_room):
                yield operation
            while len(got) < filled + len(sent):
                got.append((await peer.receive())[0])
            assert got[filled:] == sent
            with pytest.raises(BlockingIOError):
                peer.sock.recv(1)

    await sweep(world, name=name)


# Making, and asking

MAKERS: dict[str, Callable[[Path], Awaitable[Any]]] = {
    "create_udp_socket": lambda folder: bridgeio.create_udp_socket(socket.AF_INET, local_host="localhost"),
    "create_connected_udp_socket": lambda folder: bridgeio.create_connected_udp_socket(
        "localhost", 9, family=socket.AF_INET, local_host="localhost"
    ),
    "create_unix_datagram_socket": lambda folder: bridgeio.create_unix_datagram_socket(local_path=folder / "ours"),
    "create_connected_unix_datagram_socket": lambda folder: bridgeio.create_connected_unix_datagram_socket(
        folder / "theirs", local_path=folder / "ours"
    ),
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", MAKERS)
async def test_swept_makers_of_sockets(name: str, socket_folder: Path) -> None:
    """A cancelled call leaves no socket, and no path; one that came back has made one that works."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        made: list[Any] = []

        async def operation() -> None:
            made.append(await MAKERS[name](socket_folder))

        yield operation
        for sock in made:
            assert sock.statistics().received == 0
            sock.close()
        assert not (socket_folder / "ours").exists()

    with RawDatagrams(str(socket_folder / "theirs")):
        await sweep(world, name=name)


QUESTIONS: dict[str, Callable[[], Awaitable[Any]]] = {
    "getaddrinfo": lambda: bridgeio.getaddrinfo("localhost", 9),
    "getnameinfo": lambda: bridgeio.getnameinfo(("127.0.0.1", 9)),
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", QUESTIONS)
async def test_swept_questions(name: str) -> None:
    """A cancelled question leaves nothing behind; one that came back has an answer."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async def operation() -> None:
            assert await QUESTIONS[name]()

        yield operation

    await sweep(world, name=name)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
