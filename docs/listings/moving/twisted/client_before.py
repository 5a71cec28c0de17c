"""Asks the lockers, and prints what they answer.

python client_before.py --port 7000 "PUT 7 hello" "TAKE 7 0"
"""

import argparse
import sys

from twisted.internet import defer
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver


class ClientProtocol(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, clock, patience):
        self._clock = clock
        self._patience = patience
        self._asked = None

    def ask(self, request):
        """A Deferred of the answer to one request; it fails if there is none in time."""
        self._asked = defer.Deferred()
        self.sendLine(request.encode())
        return self._asked.addTimeout(self._patience, self._clock)

    def lineReceived(self, line):
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.callback(line.decode())

    def connectionLost(self, reason):
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.errback(reason)


async def main(reactor, port, requests, patience):
    try:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=patience)
        client = await connectProtocol(endpoint, ClientProtocol(reactor, patience))
        for request in requests:
            print(await client.ask(request))
        client.transport.loseConnection()
    except (ConnectError, ConnectionClosed, defer.TimeoutError) as error:
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Asks the lockers.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds that an answer may take")
    parser.add_argument("requests", nargs="+")
    options = parser.parse_args()
    react(main, (options.port, options.requests, options.patience))
