"""Serving over an endpoint of Twisted's: a factory whose protocols give their transports away."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from bridgeio_twisted.deferreds import start

__all__ = ["Serve", "ServerFactory"]

Serve = Callable[[Any], Coroutine[Any, Any, object]]

_log = Logger("bridgeio.twisted")


class ServerFactory(Factory):
    """See `bridgeio_twisted.server_factory`."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._running: set[Deferred[Any]] = set()

    @property
    def connections(self) -> int:
        """How many handlers are running."""
        return len(self._running)

    def buildProtocol(self, addr: object) -> Protocol:
        protocol = _Accepted(self)
        protocol.factory = self
        return protocol

    def cancel(self) -> Deferred[Any]:
        """Cancels all handlers; fires when they have ended. For a service, after ``stopListening``."""
        running = list(self._running)
        ended: Deferred[Any] = DeferredList([deferred.addErrback(lambda _: None) for deferred in running])
        for deferred in running:
            deferred.cancel()
        return ended

    def accepted(self, transport: Any) -> None:
        running = start(self._serve(transport))
        self._running.add(running)
        running.addErrback(_report)
        running.addBoth(lambda _: self._running.discard(running))


class _Accepted(Protocol):
    """A connection, for the moment that it takes to give it away."""

    def __init__(self, factory: ServerFactory) -> None:
        self._owner = factory

    def connectionMade(self) -> None:
        self._owner.accepted(self.transport)


def _report(failure: Failure) -> None:
    if not isinstance(failure.value, CancelledError):
        _log.failure("A handler failed", failure=failure)
