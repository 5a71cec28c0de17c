"""Names and addresses, asked for in the open: what `socket` answers, without holding up other tasks."""

from __future__ import annotations

import socket
from typing import Any

from bridgeio.checkpoints import begin, spend
from bridgeio.errors import show_address
from bridgeio.hostnames import HostName
from bridgeio.resolver import check_port, resolve

__all__ = ["AddressPair", "address_pair", "getaddrinfo", "getnameinfo"]

AddressPair = tuple[str, int]


async def getaddrinfo(
    host: HostName | bytes | None,
    port: str | int | None,
    *,
    family: int = 0,
    type: int = 0,  # noqa: A002 (the name that `socket` and AnyIO have for it)
    proto: int = 0,
    flags: int = 0,
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, AddressPair]]:
    """`socket.getaddrinfo` off the loop, by the resolver that the framework is configured with.

    On Twisted the resolver that the application has installed in its reactor is asked, on gevent the hub's,
    elsewhere the system's, in a thread. A numeric address is answered at once. A cancel gives the answer up,
    and leaves nothing behind; the thread that asks ends by itself.

    :param host: a name, an address, or `None` for the loopback's (any address, with ``AI_PASSIVE``). What is not
        ASCII is encoded by IDNA 2003.
    :param port: a number, or a service's name.
    :returns: for each address its family, kind of socket, protocol number, canonical name, and the pair of host and
        port. The scope of a link-local IPv6 address stands in the host: ``fe80::1%2``.
    :raises socket.gaierror: if there is no such name, or it cannot be one.
    :raises ValueError: for a port above 65535 or below 0.
    """
    task = await begin()
    found = await resolve(host, port, family=family, kind=type, proto=proto, flags=flags)
    await spend(task)
    return [
        (socket.AddressFamily(family), socket.SocketKind(kind), number, name, address_pair(address))
        for family, kind, number, name, address in found
        if isinstance(address[0], str)  # a Python without IPv6 gives it as a number and bytes
    ]


async def getnameinfo(sockaddr: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
    """`socket.getnameinfo` off the loop: what the host and the port of an address are called.

    Asked of the same resolver as `getaddrinfo`, on Twisted of the system's; a cancel leaves nothing behind.

    :param sockaddr: a pair of a numeric host and a port, or IPv6's four as `socket` has them.
    :param flags: ``socket.NI_NUMERICHOST``, ``NI_NAMEREQD``, ``NI_DGRAM`` and others.
    :raises socket.gaierror: if there is no name and ``NI_NAMEREQD`` asks for one, or the host is not numeric.
    :raises ValueError: for a port above 65535 or below 0.
    """
    task = await begin()
    _check_address(sockaddr)
    try:
        host, service = await task.host.reverse(sockaddr, flags)
    except (socket.gaierror, UnicodeError) as error:
        number, why = (error.errno, error.strerror) if isinstance(error, OSError) else (socket.EAI_NONAME, error)
        raise socket.gaierror(number, f"{why} (find a name for {show_address(sockaddr)})") from error
    await spend(task)
    return host, service


def address_pair(address: Any) -> AddressPair:
    """An address of `socket` as host and port."""
    if len(address) == 4 and address[3]:
        return f"{address[0].partition('%')[0]}%{address[3]}", address[1]
    return address[0], address[1]


def _check_address(sockaddr: Any) -> None:
    """Before a thread is asked for what it would only refuse."""
    if not (isinstance(sockaddr, tuple) and 2 <= len(sockaddr) <= 4 and isinstance(sockaddr[0], str)):
        raise TypeError(f"an address is a pair of host and port, not {sockaddr!r}")
    if not isinstance(sockaddr[1], int):
        raise TypeError(f"the port of an address is a number, not {sockaddr[1]!r}")
    check_port(sockaddr[1], sockaddr[0])
