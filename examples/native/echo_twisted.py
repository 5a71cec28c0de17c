"""The echo server in Twisted's own way, for comparison: a Protocol and its Factory."""

from __future__ import annotations

from arguments import announce, arguments
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IReactorTCP
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver


class Echo(LineOnlyReceiver):
    delimiter = b"\n"

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line)


async def main(reactor: IReactorTCP, host: str, port: int) -> None:
    endpoint = TCP4ServerEndpoint(reactor, port, interface=host)
    listening: IListeningPort = await endpoint.listen(Factory.forProtocol(Echo))
    announce(listening.getHost().port)
    await Deferred()


if __name__ == "__main__":
    options = arguments()
    react(main, (options.host, options.port))
