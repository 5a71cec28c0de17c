"""Peers of bridgeio's datagram sockets that are no bridgeio: raw sockets, which never block."""

from __future__ import annotations

import socket
import struct
from typing import Any

from bridgeio.testing.peers import family_of
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

__all__ = ["RawDatagrams", "dead_address", "multicast_interfaces"]

GROUP = "239.192.7.7"  # of those that no organisation shares with another (RFC 2365)


class RawDatagrams:
    """A raw datagram socket on the loopback, or on a path.

    :ivar sock: non-blocking.
    :ivar address: as `socket.getsockname` tells it.
    """

    def __init__(self, address: Any = ("127.0.0.1", 0)) -> None:
        self.sock: socket.socket = original("socket", "socket")(family_of(address), socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        try:
            if address:
                self.sock.bind(address)
        except BaseException:
            self.sock.close()
            raise
        self.address: Any = self.sock.getsockname()

    @property
    def port(self) -> int:
        return int(self.address[1])

    def __enter__(self) -> RawDatagrams:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, data: bytes, address: Any) -> None:
        """Sends a datagram, for which the kernel has room."""
        assert self.sock.sendto(data, address) == len(data)

    def fill(self, address: Any, data: bytes = b"filling") -> int:
        """Sends to a UNIX socket until its queue is full; how many that were."""
        for count in range(100_000):
            try:
                self.sock.sendto(data, address)
            except BlockingIOError:
                return count
        raise AssertionError("the queue has no end")

    async def receive(self) -> tuple[bytes, Any]:
        """The next datagram, and where it came from."""
        received: list[tuple[bytes, Any]] = []

        def has_come() -> bool:
            try:
                received.append(self.sock.recvfrom(1 << 22))
            except BlockingIOError:
                return False
            return True

        await until(has_come)
        return received[0]

    async def receive_hops(self) -> int:
        """The hops that the next datagram had left when it came (IPv4, Linux)."""
        await until(self._has_some)
        _, messages, _, _ = self.sock.recvmsg(1 << 16, 64)
        return int(struct.unpack("i", messages[0][2])[0])

    def tell_hops(self) -> None:
        """Before `receive_hops`."""
        self.sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_RECVTTL", 12), 1)

    def _has_some(self) -> bool:
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True


def dead_address() -> tuple[str, int]:
    """A loopback address where nobody receives, for now."""
    with RawDatagrams() as gone:
        address: tuple[str, int] = gone.address
    return address


def multicast_interfaces(family: int = socket.AF_INET) -> list[str]:
    """The names of the interfaces over which this machine hears itself in a group.

    The loopback, ``lo``, is the last: what is sent there comes back whatever the options say.
    """
    names = sorted((name for _, name in socket.if_nameindex()), key=lambda name: name.startswith("lo"))
    return [name for name in names if _hears_itself(name, family)]


def _hears_itself(name: str, family: int) -> bool:
    index = socket.if_nametoindex(name)
    with RawDatagrams(("0.0.0.0" if family == socket.AF_INET else "::", 0)) as both:
        sock = both.sock
        try:
            if family == socket.AF_INET:
                packed = socket.inet_aton(GROUP)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4si", packed, b"", index))
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", b"", b"", index))
                both.send(b"", (GROUP, both.port))
            else:
                packed = socket.inet_pton(socket.AF_INET6, "ff02::7777")
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, struct.pack("16sI", packed, index))
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                both.send(b"", ("ff02::7777", both.port))
            sock.settimeout(1)
            return sock.recv(1) == b""
        except OSError:
            return False
