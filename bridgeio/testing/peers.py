"""Peers of bridgeio's streams that are no bridgeio: raw sockets that lie, stall, vanish and reset.

They never block, so that a test can play both sides in one task of any framework: what may take time
is awaited, and waits by asking again.
"""

from __future__ import annotations

import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

__all__ = [
    "FAMILIES",
    "Flood",
    "Peer",
    "RawListener",
    "ReceivingEnd",
    "family_of",
    "free_address",
    "has_ipv6",
    "is_connected",
    "is_over",
    "open_to",
    "peer_stream",
    "peers_of",
    "raw_socket",
]

FAMILIES = ("ipv4", "ipv6", "unix")

EAGER = 50  # times that a peer asks again at once, before it leaves the other side some time
CONNECT_PATIENCE = 5.0  # seconds; a loopback connect that takes longer has met a full queue


def raw_socket(family: int = socket.AF_INET) -> socket.socket:
    """A socket of the system's, whatever has been patched."""
    made: socket.socket = original("socket", "socket")(family, socket.SOCK_STREAM)
    return made


def family_of(address: Any) -> socket.AddressFamily:
    if isinstance(address, str | bytes):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def free_address(family: str, folder: Path) -> Any:
    """An address that nobody uses: ``"ipv4"``, ``"ipv6"`` or ``"unix"``, which is a path in the folder.

    Skips the test where the machine has no such address.
    """
    if family == "unix":
        return str(folder / "s")
    if family == "ipv6" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    return ("127.0.0.1", 0) if family == "ipv4" else ("::1", 0)


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with raw_socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class ReceivingEnd(ABC):
    """An end of a connection, as far as it receives."""

    async def receive(self, size: int) -> bytes:
        """Exactly so many bytes, or fewer if the stream ends."""
        received = bytearray()
        while len(received) < size and (data := await self.receive_some(size - len(received))):
            received += data
        return bytes(received)

    async def receive_all(self) -> bytes:
        """Everything up to the end of the stream."""
        received = bytearray()
        while data := await self.receive_some(1 << 20):
            received += data
        return bytes(received)

    @abstractmethod
    async def receive_some(self, most: int) -> bytes:
        """At least one byte, or ``b""`` at the end."""


class Peer(ReceivingEnd):
    """One raw end of a connection.

    :ivar sock: non-blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)

    @classmethod
    def connect(cls, address: Any) -> Peer:
        """Connects to a listening loopback or UNIX address; the kernel answers for the server."""
        sock = raw_socket(family_of(address))
        sock.settimeout(CONNECT_PATIENCE)
        try:
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Sends a few bytes, for which the kernel has room."""
        assert self.sock.send(data) == len(data), "more than the kernel takes at once: use send_all or send_some"

    def send_some(self, data: bytes) -> int:
        """Sends what the kernel takes; 0 if it takes nothing."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    async def send_all(self, data: bytes) -> None:
        """Sends everything, as fast as the other side takes it."""
        rest = memoryview(data)
        while rest:
            rest = rest[self.send_some(rest) :]  # type: ignore[arg-type]
            await bridgeio.sleep(0)

    async def receive_some(self, most: int) -> bytes:
        """At least one byte, or ``b""`` at the end.

        :raises ConnectionResetError: if the other side has reset the connection.
        """
        for attempt in count():
            try:
                return self.sock.recv(most)
            except BlockingIOError:
                await bridgeio.sleep(0 if attempt < EAGER else 0.002)
        raise AssertionError("attempts do not end")

    async def sees_reset(self) -> bool:
        """Reads until the stream is over; whether it was by a reset."""
        try:
            await self.receive_all()
        except ConnectionResetError:
            return True
        return False

    def send_urgent(self, byte: bytes = b"!") -> None:
        """Sends one byte out of band."""
        self.sock.send(byte, socket.MSG_OOB)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanishes with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


@contextmanager
def peers_of(address: Any, number: int) -> Iterator[list[Peer]]:
    """So many peers, connected to a listening address, and closed at the end of the block."""
    with ExitStack() as stack:
        yield [stack.enter_context(Peer.connect(address)) for _ in range(number)]


class Flood:
    """A peer in a thread of its own that sends as fast as the other side takes it.

    :ivar sent: bytes so far.
    """

    def __init__(self, address: Any) -> None:
        self.sent = 0
        self._sock = Peer.connect(address).sock
        self._sock.setblocking(True)
        self._ended = original("_thread", "allocate_lock")()

    def __enter__(self) -> Flood:
        self._ended.acquire()
        original("_thread", "start_new_thread")(self._send, ())
        return self

    def __exit__(self, *exc: object) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._ended.acquire()
        self._sock.close()

    def _send(self) -> None:
        data = bytes(65536)
        try:
            while True:
                self.sent += self._sock.send(data)
        except OSError:
            self._ended.release()


class RawListener:
    """A raw listening socket on the loopback, or on a path.

    :ivar address: as `socket.getsockname` tells it.
    """

    def __init__(self, address: Any = ("127.0.0.1", 0), *, backlog: int = 16) -> None:
        self.sock = raw_socket(family_of(address))
        self.sock.setblocking(False)
        try:
            self.sock.bind(address)
            self.sock.listen(backlog)
        except BaseException:
            self.sock.close()
            raise
        self.address: Any = self.sock.getsockname()
        self._filling: list[socket.socket] = []

    @property
    def port(self) -> int:
        return int(self.address[1])

    def __enter__(self) -> RawListener:
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in [self.sock, *self._filling]:
            sock.close()

    async def accept(self) -> Peer:
        """The next connection."""
        accepted: list[socket.socket] = []

        def has_come() -> bool:
            try:
                accepted.append(self.sock.accept()[0])
            except BlockingIOError:
                return False
            return True

        await until(has_come)
        return Peer(accepted[0])

    async def fill_queue(self) -> None:
        """Connects to itself until the kernel answers no more: the next connect hangs."""
        while True:
            sock = raw_socket(self.sock.family)
            sock.setblocking(False)
            self._filling.append(sock)
            if sock.connect_ex(self.address) and not await self._answers(sock):
                return

    async def _answers(self, sock: socket.socket) -> bool:
        """Whether a connect came through: on the loopback that is at once or never."""
        with bridgeio.move_on_after(0.1):
            await until(lambda: is_connected(sock))
        return is_connected(sock)


def is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


async def is_over(peer: Peer) -> bool:
    """Waits until the other side has ended the connection, in whatever way."""
    try:
        await peer.receive_all()
    except ConnectionResetError:
        pass
    return True


@asynccontextmanager
async def peer_stream(
    address: Any = ("127.0.0.1", 0), **options: Any
) -> AsyncIterator[tuple[bridgeio.Reader, bridgeio.Writer, Peer]]:
    """A bridgeio stream and the raw peer at its other end; what is left of both is dropped at the end."""
    with RawListener(address) as listener:
        reader, writer = await open_to(listener.address, **options)
        try:
            with await listener.accept() as peer:
                yield reader, writer, peer
        finally:
            writer.abort()


async def open_to(address: Any, **options: Any) -> tuple[bridgeio.Reader, bridgeio.Writer]:
    """A bridgeio connection to an address of any family."""
    if isinstance(address, str):
        return await bridgeio.open_unix_connection(address, **options)
    return await bridgeio.open_connection(address[0], address[1], **options)
