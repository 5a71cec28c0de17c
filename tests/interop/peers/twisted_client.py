"""A Twisted Protocol as a client: sends what it is told, ends its side, prints what comes back."""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import react
from zope.interface import implementer  # type: ignore[import-untyped]


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    transport: Any  # Twisted's interfaces tell mypy nothing

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(sys.stdin.buffer.read())
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)

    def writeConnectionLost(self) -> None:
        """Our side has ended; the answer may still be on its way."""

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: object = connectionDone) -> None:
        self.ended.callback(None)


async def main(reactor: object, port: str) -> None:
    client = Client()
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", int(port))
    await connectProtocol(endpoint, client)  # type: ignore[no-untyped-call]
    await client.ended


react(main, sys.argv[1:])
