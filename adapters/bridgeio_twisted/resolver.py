"""The name resolver that an application has installed in its reactor."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer  # type: ignore[import-untyped]

from bridgeio.contract import AddressInfo

__all__ = ["answers", "ask", "is_twisteds_own"]

_UNDERSTOOD = socket.AI_PASSIVE | socket.AI_ADDRCONFIG  # of the flags; both are as a resolver likes it
_PROTOCOLS: dict[int, int] = {socket.SOCK_STREAM: socket.IPPROTO_TCP, socket.SOCK_DGRAM: socket.IPPROTO_UDP}
_ADDRESSES: dict[int, Any] = {socket.AF_UNSPEC: None, socket.AF_INET: [IPv4Address], socket.AF_INET6: [IPv6Address]}


def is_twisteds_own(reactor: Any) -> bool:
    """Whether nobody has installed another. A resolver of the older kind (``installResolver``) stands behind one of
    Twisted's own."""
    behind = (reactor.nameResolver, reactor.resolver)
    return all(type(resolver).__module__.startswith("twisted.internet.") for resolver in behind)


def answers(flags: int, kind: int, proto: int) -> bool:
    """Whether such a resolver can be asked that: it knows of TCP and of UDP, and of no flags."""
    return not flags & ~_UNDERSTOOD and (kind == 0 or kind in _PROTOCOLS) and proto in (0, _PROTOCOLS.get(kind))


async def ask(resolver: Any, host: str, port: int, family: int, kind: int) -> list[AddressInfo]:
    """Addresses for one kind of socket; for both if the kind is 0, as `socket.getaddrinfo` has it.

    :raises socket.gaierror: if there is none.
    """
    answer = _Answer()
    transport = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
    resolver.resolveHostName(answer, host, port, _ADDRESSES.get(family), transport)
    found = [where for where in await answer.complete if family in (0, where[0])]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "the reactor's name resolver has no address")
    kinds = [kind] if kind else list(_PROTOCOLS)
    return [(family, kind, _PROTOCOLS[kind], "", address) for family, address in found for kind in kinds]


@implementer(IResolutionReceiver)
class _Answer:
    """Collects addresses, each with its family, until the resolver has no more."""

    def __init__(self) -> None:
        self._found: list[tuple[int, Any]] = []
        self._resolution: Any = None
        self.complete: Deferred[list[tuple[int, Any]]] = Deferred(self._give_up)

    def resolutionBegan(self, resolution: Any) -> None:
        self._resolution = resolution

    def addressResolved(self, address: Any) -> None:
        if ":" in address.host:
            flow, scope = getattr(address, "flowInfo", 0), getattr(address, "scopeID", 0)  # or an IPv4Address with it
            self._found.append((socket.AF_INET6, (address.host, address.port, flow, scope)))
        else:
            self._found.append((socket.AF_INET, (address.host, address.port)))

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(self._found)

    def _give_up(self, complete: Deferred[Any]) -> None:
        with suppress(NotImplementedError, AttributeError):  # many resolvers cannot be told
            self._resolution.cancel()
