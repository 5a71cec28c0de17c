"""Twisted's transports for `bridgeio.wrap`: a protocol and a producer of ours take the place of the user's.

Rule 1: as a streaming producer it hears when the transport's buffer is full, and when it is empty again. It leaves
before ``loseConnection``, which would wait for it.
Rule 2: ``loseConnection`` sends what is left and then closes, ``abortConnection`` resets.
"""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer  # type: ignore[import-untyped]

from bridgeio.contract import Feed
from bridgeio.errors import BusyError

__all__ = ["TwistedStream", "is_transport"]


def is_transport(native: object) -> bool:
    """Whether it is one whose protocol can be replaced: a connection, or a `ProtocolWrapper` around one."""
    return ITransport.providedBy(native) and (_place(native) is not None or _is_over(native))


def _place(transport: Any) -> tuple[Any, str] | None:
    """Where a transport keeps its protocol. (What wraps a connection answers for its attributes, too.)"""
    if getattr(transport, "TLS", False) and "protocol" in vars(transport):
        transport = transport.protocol  # after startTLS
    for name in ("wrappedProtocol", "protocol"):
        if name in vars(transport):
            return transport, name
    return None


def _is_over(transport: Any) -> bool:
    return bool(getattr(transport, "disconnected", False))


@implementer(IHalfCloseableProtocol, IPushProducer)
class TwistedStream(Protocol):
    """A `bridgeio.contract.NativeStream`. The protocol that was there before hears that the connection has ended."""

    def __init__(self, transport: Any) -> None:
        self.transport: Any = transport
        self._feed: Feed
        self._before: Any = None
        self._reading = False  # for all one knows: who had the transport before may have paused it
        self._is_full = False
        self.peer = _as_tuple(transport.getPeer())

    @property
    def can_end_write(self) -> bool:
        """A direct connection can; what wraps one closes as a whole, and so does TLS."""
        place = _place(self.transport)
        direct = place is not None and place[0] is self.transport and place[1] == "protocol"
        return direct and IHalfCloseableDescriptor.providedBy(self.transport)

    def start(self, feed: Feed) -> None:
        self._feed = feed
        place = _place(self.transport)
        if place is None or _is_over(self.transport):
            feed.lost()
            return
        try:
            self.transport.registerProducer(self, True)
        except RuntimeError as error:
            raise BusyError("a producer is registered with the transport, and writes to it") from error
        self._before = getattr(*place)
        setattr(*place, self)

    def write(self, data: bytes) -> bool:
        self.transport.write(data)
        return not self._is_full

    def pause(self) -> None:
        self._reading = False
        self.transport.pauseProducing()

    def resume(self) -> None:
        if not self._reading:
            self._reading = True
            self.transport.resumeProducing()

    def end_write(self) -> None:
        """A producer that is paused, and not unregistered, would be asked for more instead."""
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def close(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        self.transport.abortConnection()

    def extra(self, name: str, default: Any) -> Any:
        if name == "peername":
            return self.peer
        if name == "sockname":
            return _as_tuple(self.transport.getHost())
        if name == "socket":
            handle = getattr(self.transport, "getHandle", None)
            return default if handle is None else handle()
        return default

    # As a protocol

    def dataReceived(self, data: bytes) -> None:
        self._feed.received(data)

    def readConnectionLost(self) -> None:
        self._reading = True  # the reactor has stopped reading for good
        self._feed.ended()

    def writeConnectionLost(self) -> None:
        """This side has ended its direction, as it wanted."""

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        before, self._before = self._before, None
        try:
            if before is not None:
                before.connectionLost(reason)
        finally:
            self._feed.lost(_as_oserror(reason))

    # As a producer

    def pauseProducing(self) -> None:
        self._is_full = True

    def resumeProducing(self) -> None:
        self._is_full = False
        self._feed.has_room()

    def stopProducing(self) -> None:
        """The connection is lost, as the protocol hears, too."""


def _as_oserror(reason: Failure) -> OSError | None:
    """Twisted does not keep what the system said."""
    if isinstance(reason.value, ConnectionDone | ConnectionAborted):
        return None
    error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    error.__cause__ = reason.value
    return error


def _as_tuple(address: Any) -> Any:
    """As sockets have it."""
    if hasattr(address, "host"):
        return (address.host, address.port)
    return getattr(address, "name", None) or str(address)
