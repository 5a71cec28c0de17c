"""From a host's name to addresses, without holding up the loop."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable

from bridgeio.contract import AddressInfo
from bridgeio.lookups import getaddrinfo
from bridgeio.registry import current_task

__all__ = ["Resolver", "resolve"]

Resolver = Callable[[str | None, int | str | None, int, int], Awaitable[list[AddressInfo]]]


async def resolve(
    host: str | None, port: int | str | None, *, flags: int = 0, resolver: Resolver | None = None
) -> list[AddressInfo]:
    """Stream addresses for a name; for a numeric address, without asking anybody.

    :param resolver: asked with host, port, family and flags, instead of the backend's own.
    :raises socket.gaierror: with the name in its message.
    :raises ValueError: for a port that cannot be; ``getaddrinfo`` would take another one for it.
    """
    if isinstance(port, int) and not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535, not {port} (for host {host!r})")
    try:
        with contextlib.suppress(socket.gaierror):
            return getaddrinfo(host, port, 0, flags | socket.AI_NUMERICHOST)
        ask = resolver if resolver is not None else current_task().host.resolve
        return list(await ask(host, port, 0, flags))
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no valid host name") from error
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"{error.strerror} (resolve {host!r})") from error
