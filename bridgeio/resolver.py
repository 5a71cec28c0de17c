"""From a host's name to addresses, without holding up the loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable

from bridgeio.contract import AddressInfo
from bridgeio.hostnames import HostName, ascii_name
from bridgeio.lookups import getaddrinfo
from bridgeio.registry import current_task

__all__ = ["Resolver", "check_port", "check_resolver", "resolve"]

Resolver = Callable[[str | None, int | str | None, int, int], Awaitable[list[AddressInfo]]]


async def resolve(
    host: HostName | bytes | None,
    port: int | str | None,
    *,
    family: int = 0,
    kind: int = socket.SOCK_STREAM,
    proto: int = 0,
    flags: int = 0,
    resolver: Resolver | None = None,
) -> list[AddressInfo]:
    """Addresses for a name; for a numeric address, without asking anybody.

    :param resolver: asked with host, port, family and flags, instead of the backend's own.
    :raises socket.gaierror: with the name in its message, and the service's if the port is one.
    :raises ValueError: for a port that cannot be.
    """
    if isinstance(port, int):
        port = check_port(port, host)
    elif not (port is None or isinstance(port, str | bytes)):
        raise TypeError(f"a port is a number or a service's name, not {port!r} (for host {host!r})")
    name = ascii_name(host)
    try:
        with contextlib.suppress(socket.gaierror):
            return getaddrinfo(name, port, family, flags | socket.AI_NUMERICHOST, kind, proto)
        if resolver is not None:
            return list(await resolver(name, port, family, flags))
        return list(await current_task().host.resolve(name, port, family, flags, kind, proto))
    except socket.gaierror as error:
        asked = f"{host!r}, service {port!r}" if isinstance(port, str | bytes) else repr(host)
        raise socket.gaierror(error.errno, f"{error.strerror} (resolve {asked})") from error


def check_resolver(resolver: object) -> None:
    """
    :raises TypeError: for what cannot be asked.
    """
    if resolver is not None and not callable(resolver):
        raise TypeError(f"resolver is an async function of host, port, family and flags, not {resolver!r}")


def check_port(port: int, host: object) -> int:
    """The number, as `socket` wants it: an ``IntEnum``'s is none to its ``getaddrinfo``.

    :raises ValueError: for one that cannot be; the system would take another one for it.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port} (for host {host!r})")
    return int(port)
