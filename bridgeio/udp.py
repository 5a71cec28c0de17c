"""UDP sockets, with AnyIO's names, on a socket of bridgeio's own under every framework."""

from __future__ import annotations

import errno
import socket
from typing import Any, ClassVar

from bridgeio.buffers import Bytes
from bridgeio.checkpoints import begin, spend
from bridgeio.contract import AddressInfo, Task
from bridgeio.datagrams import DatagramSocket, DatagramSource
from bridgeio.errors import ConnectError, describe
from bridgeio.hostnames import HostName
from bridgeio.multicast import Interface, join_or_leave, set_option
from bridgeio.names import AddressPair, address_pair
from bridgeio.resolver import resolve
from bridgeio.sockets import bound_socket, new_socket

__all__ = ["ConnectedUDPSocket", "UDPSocket", "create_connected_udp_socket", "create_udp_socket"]


async def create_udp_socket(
    family: int = socket.AF_UNSPEC,
    *,
    local_host: HostName | None = None,
    local_port: int = 0,
    reuse_port: bool = False,
) -> UDPSocket:
    """A UDP socket that receives from everybody, and sends to anybody.

    Use it with ``async with``, or ``close`` it. A cancel leaves nothing open.

    :param family: ``socket.AF_INET`` or ``AF_INET6``; may be left out where ``local_host`` tells. An IPv6 socket is
        for IPv6 alone, on every system.
    :param local_host: a name or an address to receive at; by default all addresses of the machine.
    :param local_port: 0 lets the system choose: ``get_extra_info("sockname")[1]`` tells.
    :param reuse_port: lets several sockets have the port (``SO_REUSEPORT``). The kernel shares out what is sent to
        one machine; each of them gets what is sent to a group that it has joined.
    :raises ValueError: without a family and a ``local_host``, and for a port that cannot be.
    :raises socket.gaierror: if the name does not resolve.
    :raises OSError: `PermissionError` and others, as ``bind`` does, with the address.
    """
    _check_family(family)
    if family == socket.AF_UNSPEC and local_host is None:
        raise ValueError("create_udp_socket() wants a family (socket.AF_INET, socket.AF_INET6) or a local_host")
    task = await begin()
    addresses = await _local_addresses(local_host, local_port, family)
    sock = _bound_to_first(addresses, reuse_port)
    made = UDPSocket(UDPSource(task.host, sock))
    await spend(task)
    return made


async def create_connected_udp_socket(
    remote_host: HostName,
    remote_port: int,
    *,
    family: int = socket.AF_UNSPEC,
    local_host: HostName | None = None,
    local_port: int = 0,
    reuse_port: bool = False,
) -> ConnectedUDPSocket:
    """A UDP socket that sends to one address, receives from there alone, and hears of errors on the way.

    Nothing is sent for this: whether anybody listens there is not known before something is. The first of the
    host's addresses that the system has a route to is taken. Use it with ``async with``, or ``close`` it. A cancel
    leaves nothing open.

    :param family: of the addresses to try; by default all.
    :param local_host: a name or an address to send from; addresses of other families are not tried then.
    :param local_port: 0 lets the system choose.
    :param reuse_port: lets several sockets have the local port.
    :raises socket.gaierror: if a name does not resolve.
    :raises ValueError: for a port above 65535 or below 0.
    :raises ConnectError: if no address can be reached from here, with each one's error in ``.errors``.
    """
    _check_family(family)
    _check_host(remote_host)
    task = await begin()
    remote = await resolve(remote_host, remote_port, family=family, kind=socket.SOCK_DGRAM)
    chosen = local_host is not None or local_port != 0
    local = await _local_addresses(local_host, local_port, family) if chosen else []
    source = _connected_to_first(task, remote, local if chosen else None, reuse_port)
    await spend(task)
    return ConnectedUDPSocket(source)


class UDPSource(DatagramSource):
    """A UDP socket behind the poller."""

    hints: ClassVar[dict[int, str]] = {
        errno.EMSGSIZE: "UDP carries 65,507 bytes over IPv4 and 65,527 over IPv6 at most",
        errno.EACCES: "set_options(broadcast=True) allows sending to a broadcast address",
    }


class _UDPOptions:
    """What a UDP socket can be told."""

    __slots__ = ()

    _source: DatagramSource

    def set_options(
        self,
        *,
        broadcast: bool | None = None,
        ttl: int | None = None,
        multicast_ttl: int | None = None,
        multicast_loop: bool | None = None,
        multicast_interface: Interface | None = None,
    ) -> None:
        """Sets those options that are given. They can be set again at any time.

        :param broadcast: whether datagrams may be sent to a broadcast address (IPv4).
        :param ttl: how many hops a datagram to one machine may take, 1 to 255.
        :param multicast_ttl: the same for one to a group, 0 to 255; systems begin with 1, the local network.
        :param multicast_loop: whether this machine gets what it sends to a group that it has joined.
        :param multicast_interface: where datagrams to a group leave: a name such as ``"eth0"``, an index, or, for
            IPv4, an address of the interface.
        :raises ValueError: for a number that cannot be.
        :raises OSError: if there is no such interface, or the kernel refuses.
        """
        self._source.check_usable()
        given = {
            "broadcast": broadcast,
            "ttl": ttl,
            "multicast_ttl": multicast_ttl,
            "multicast_loop": multicast_loop,
            "multicast_interface": multicast_interface,
        }
        for name, value in given.items():
            if value is not None:
                set_option(self._source.sock, name, value)


class UDPSocket(DatagramSocket[tuple[bytes, AddressPair]], _UDPOptions):
    """A UDP socket that is not connected. `create_udp_socket` makes it; it belongs to its run.

    ``async for data, (host, port) in udp`` receives without end. One task may receive at a time; a second one gets
    `BusyError`, and the first is not disturbed. Any number of tasks may send meanwhile. A cancelled ``receive`` has
    taken nothing, a cancelled send has sent nothing. An empty datagram is a datagram, and no end.

    Datagrams may be lost, doubled and reordered: that is UDP. Those that are lost in this machine, because nobody
    received them in time, ``statistics().dropped`` counts where the system tells. Errors that the network reports
    for one datagram are told to connected sockets alone: here they would meet a call that is not about them.
    """

    __slots__ = ()

    async def sendto(self, data: Bytes, host: HostName, port: int) -> None:
        """Sends a datagram; waits only for the name service, or until the kernel takes it.

        :param host: an address; a name works too, and is asked for each time. A link-local IPv6 address needs its
            scope, ``fe80::1%eth0``.
        :raises socket.gaierror: if the name does not resolve to an address of this socket's family.
        :raises ValueError: for a port above 65535 or below 0.
        :raises StreamClosedError: after ``close``.
        :raises OSError: if the kernel refuses: with ``EMSGSIZE`` for a datagram that is too large,
            `PermissionError` for a broadcast that was not allowed. Nothing was sent then.
        """
        task = await begin()
        source = self._source
        address = _numeric(source.sock.family, host, port)
        if address is None:
            source.check_usable()
            found = await resolve(host, port, family=source.sock.family, kind=socket.SOCK_DGRAM)
            address = found[0][4]
        await source.send(task, data, address)
        await spend(task)

    async def send(self, item: tuple[Bytes, tuple[Any, ...]]) -> None:
        """`sendto` for a pair of data and address, as ``receive`` returns it, or with an address of `socket`'s."""
        data, host, port = _parts_of(item)
        await self.sendto(data, host, port)

    def join_group(self, group: str, *, interface: Interface | None = None) -> None:
        """Receives what is sent to a multicast group, too, until it is left or the socket is closed.

        The socket has to have the group's port, and ``reuse_port`` if others on this machine have it as well.

        :param group: an address from 224.0.0.0 to 239.255.255.255, or beginning with ``ff``.
        :param interface: the network to join on: a name such as ``"eth0"``, an index, or, for IPv4, an address of
            the interface; the kernel's choice by default.
        :raises ValueError: for another address.
        :raises OSError: if there is no such interface, or the kernel refuses.
        """
        self._source.check_usable()
        join_or_leave(self._source.sock, group, interface, joins=True)

    def leave_group(self, group: str, *, interface: Interface | None = None) -> None:
        """Ends `join_group`, with the same arguments.

        :raises OSError: if the socket has not joined it.
        """
        self._source.check_usable()
        join_or_leave(self._source.sock, group, interface, joins=False)

    def _item(self, data: bytes, address: Any) -> tuple[bytes, AddressPair]:
        return data, address_pair(address)


class ConnectedUDPSocket(DatagramSocket[bytes], _UDPOptions):
    """A UDP socket with one peer. `create_connected_udp_socket` makes it; it belongs to its run.

    ``async for data in udp`` receives without end. One task may receive at a time; a second one gets `BusyError`,
    and the first is not disturbed. Any number of tasks may send meanwhile. A cancelled ``receive`` has taken
    nothing, a cancelled send has sent nothing. An empty datagram is a datagram, and no end.

    Where the peer's machine answers that nobody listens there, the next ``receive`` or ``send`` raises
    `ConnectionRefusedError`, once. The socket lives on: somebody may listen later.
    """

    __slots__ = ()

    async def send(self, item: Bytes) -> None:
        """Sends a datagram; waits only until the kernel takes it.

        :raises StreamClosedError: after ``close``.
        :raises OSError: if the kernel refuses, with ``EMSGSIZE`` for a datagram that is too large; or an error that
            the network has reported for an earlier one. In both cases nothing of this one was sent.
        """
        await self._send(item)

    def _item(self, data: bytes, address: Any) -> bytes:
        return data


def _check_family(family: int) -> None:
    if family not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"a UDP socket has the family socket.AF_INET or socket.AF_INET6, not {family!r}")


def _check_host(host: object) -> None:
    """Asked for none, the name service would say this machine."""
    if host is None:
        raise TypeError("a datagram goes to a host, a name or an address, not None")


async def _local_addresses(host: HostName | None, port: int, family: int) -> list[AddressInfo]:
    """Without a host, the address of each family that stands for all of the machine's."""
    return await resolve(host, port, family=family, kind=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)


def _bound_to_first(addresses: list[AddressInfo], reuse_port: bool) -> socket.socket:
    """A name may have addresses that this machine does not: the error is that of the first."""
    errors: list[OSError] = []
    for info in addresses:
        try:
            return _bound(info, reuse_port)
        except OSError as error:
            errors.append(describe(error, "bind a UDP socket to", info[4]))
    raise errors[0]


def _bound(info: AddressInfo, reuse_port: bool) -> socket.socket:
    family, _, proto, _, address = info
    return bound_socket(family, socket.SOCK_DGRAM, proto, address, reuse_port)


def _connected_to_first(
    task: Task, remote: list[AddressInfo], local: list[AddressInfo] | None, reuse_port: bool
) -> UDPSource:
    errors: list[tuple[object, OSError]] = []
    for info in remote:
        try:
            return _connected(task, info, local, reuse_port)
        except OSError as error:
            errors.append((info[4], describe(error, "connect a UDP socket to", info[4])))
    tried = "; ".join(str(error.strerror) for _, error in errors)
    raise ConnectError(f"could not connect a UDP socket: {tried or 'the name has no address'}", errors)


def _connected(task: Task, info: AddressInfo, local: list[AddressInfo] | None, reuse_port: bool) -> UDPSource:
    family, _, proto, _, address = info
    sock = new_socket(family, socket.SOCK_DGRAM, proto) if local is None else _bound_beside(family, local, reuse_port)
    try:
        sock.connect(address)
        peer = sock.getpeername()
        return UDPSource(task.host, sock, peer, None if local is None else peer)
    except BaseException:
        sock.close()
        raise


def _bound_beside(family: int, local: list[AddressInfo], reuse_port: bool) -> socket.socket:
    """Bound to the first local address of the family. From then on others' datagrams come, too."""
    for info in local:
        if info[0] == family:
            return _bound(info, reuse_port)
    raise OSError(errno.EADDRNOTAVAIL, "local_host has no address of this family")


def _parts_of(item: Any) -> tuple[Bytes, HostName, int]:
    """Data, host and port. The scope of a link-local address may stand behind them, as `socket` has it."""
    try:
        data, address = item
        if not isinstance(address, tuple | list):
            raise TypeError
        return (data, *address_pair(address))
    except (TypeError, ValueError, IndexError):
        raise TypeError(f"send() wants a pair of data and address (host, port), not {item!r:.100}") from None


def _numeric(family: int, host: HostName, port: int) -> Any:
    """The address for the kernel, if the host is one: the path of a datagram asks nobody."""
    if not isinstance(port, int):
        raise TypeError(f"a datagram goes to a port's number, an int, not {port!r}")
    try:
        socket.inet_pton(family, host)  # type: ignore[arg-type]  # what is no address is asked about in full
    except (OSError, TypeError, ValueError):
        _check_host(host)
        return None
    if not 0 <= port <= 65535:
        return None
    return (host, port)
