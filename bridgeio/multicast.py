"""Groups, and how far datagrams go: the options of UDP sockets, for IPv4 and IPv6 alike."""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Any

from bridgeio.errors import describe
from bridgeio.limits import check_count

__all__ = ["Interface", "join_or_leave", "set_option"]

Interface = str | int
"""A network interface: its name, its index, or, for IPv4, an address that it has."""


def join_or_leave(sock: socket.socket, group: str, interface: Interface | None, joins: bool) -> None:
    """:raises ValueError: if the group is no multicast address of the socket's family.
    :raises OSError: if there is no such interface, or the kernel refuses.
    """
    packed = _packed_group(sock.family, group)
    if sock.family == socket.AF_INET:
        level, option = socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP if joins else socket.IP_DROP_MEMBERSHIP
        value = packed + _ipv4_interface(interface)
    else:
        level, option = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP if joins else socket.IPV6_LEAVE_GROUP
        value = packed + struct.pack("I", _index_of(interface))
    try:
        sock.setsockopt(level, option, value)
    except OSError as error:
        on = "" if interface is None else f" on interface {interface!r}"
        raise describe(error, f"{'join' if joins else 'leave'} the group {group}{on}") from error


def set_option(sock: socket.socket, name: str, value: Any) -> None:
    """One of `_OPTIONS`, or the interface for what is sent to groups.

    :raises ValueError: for a number that cannot be.
    :raises OSError: if the kernel refuses.
    """
    is_ipv4 = sock.family == socket.AF_INET
    if name == "multicast_interface":
        level = socket.IPPROTO_IP if is_ipv4 else socket.IPPROTO_IPV6
        option = socket.IP_MULTICAST_IF if is_ipv4 else socket.IPV6_MULTICAST_IF
        value = b"\0\0\0\0" + _ipv4_interface(value) if is_ipv4 else _index_of(value)
    else:
        level, option = _OPTIONS[name][0 if is_ipv4 else 1]
        value = _number(name, value)
    try:
        sock.setsockopt(level, option, value)
    except OSError as error:
        raise describe(error, f"set {name}") from error


_OPTIONS = {
    "broadcast": ((socket.SOL_SOCKET, socket.SO_BROADCAST), (socket.SOL_SOCKET, socket.SO_BROADCAST)),
    "ttl": ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)),
    "multicast_ttl": (
        (socket.IPPROTO_IP, socket.IP_MULTICAST_TTL),
        (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS),
    ),
    "multicast_loop": (
        (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP),
        (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP),
    ),
}
_LEAST = {"ttl": 1, "multicast_ttl": 0}


def _number(name: str, value: Any) -> int:
    least = _LEAST.get(name)
    if least is None:
        return int(bool(value))
    check_count(name, value, least=least, most=255)
    return int(value)


def _packed_group(family: int, group: str) -> bytes:
    try:
        packed = socket.inet_pton(family, group)
    except OSError:
        packed = b""
    if not packed or not (224 <= packed[0] <= 239 if len(packed) == 4 else packed[0] == 255):
        kind = "IPv4" if family == socket.AF_INET else "IPv6"
        raise ValueError(f"{group!r} is no {kind} multicast address, and this is an {kind} socket")
    return packed


def _ipv4_interface(interface: Interface | None) -> bytes:
    """The end of an ``ip_mreqn``: an address of the interface, and its index; one of them will do."""
    if isinstance(interface, str):
        try:
            return socket.inet_pton(socket.AF_INET, interface) + struct.pack("i", 0)
        except OSError:
            pass  # it is a name
    return b"\0\0\0\0" + struct.pack("i", _index_of(interface))


def _index_of(interface: Interface | None) -> int:
    """0 lets the kernel choose."""
    if interface is None:
        return 0
    if isinstance(interface, int):
        if not 0 <= interface < 1 << 31:
            raise ValueError(f"an interface's index is a number from 0 to 2147483647, not {interface}")
        return interface
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        raise OSError(errno.ENODEV, f"{os.strerror(errno.ENODEV)}: there is no interface {interface!r}") from error
