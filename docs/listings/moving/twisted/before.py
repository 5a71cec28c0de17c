"""The lockers on Twisted: a service of Deferreds, a LineReceiver, and its factory.

python before.py --port 7000
"""

import argparse

from twisted.internet import defer
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredQueue,
    QueueOverflow,
    ensureDeferred,
    maybeDeferred,
    succeed,
)
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin

LONGEST_LINE = 1000  # bytes
LONGEST_WAIT = 60.0  # seconds
LINGER = 5.0  # seconds, for a client that does not read

log = Logger()


class Lockers:
    """Places for one text each, the same for all connections."""

    def __init__(self, clock, number=100):
        self._clock = clock
        self._places = [DeferredQueue(size=1) for _ in range(number)]

    def __len__(self):
        return len(self._places)

    def put(self, number, text):
        """Whether there was room for it."""
        try:
            self._places[number].put(text)
        except QueueOverflow:
            return False
        return True

    def is_full(self, number):
        return bool(self._places[number].pending)

    def take(self, number, seconds):
        """A Deferred of the text, or of None if nobody puts one in within so many seconds."""
        taken = self._places[number].get()
        taken.addTimeout(seconds, self._clock)
        return taken.addErrback(lambda failure: failure.trap(defer.TimeoutError) and None)


class LockerProtocol(LineReceiver, TimeoutMixin):
    delimiter = b"\n"
    MAX_LENGTH = LONGEST_LINE

    def connectionMade(self):
        self._answering = succeed(None)
        self._gone = Deferred()
        self.factory.clients.add(self)
        self.setTimeout(self.factory.idle)

    def connectionLost(self, reason):
        self.setTimeout(None)
        self._answering.cancel()
        self.factory.clients.discard(self)
        self._gone.callback(None)

    def lineReceived(self, line):
        if line.strip() == b"QUIT":
            self.hang_up()
            return
        self.setTimeout(None)  # whom we keep waiting is not idle
        self.pauseProducing()  # one request after the other
        self._answering = maybeDeferred(self.carry_out, line)
        self._answering.addErrback(self.refuse)
        self._answering.addCallback(self.answer)
        self._answering.addErrback(self.failed)

    def carry_out(self, line):
        lockers = self.factory.lockers
        match line.strip().split(None, 2):
            case b"PUT", number, text:
                return b"OK" if lockers.put(number_of(lockers, number), text) else b"FULL"
            case b"LOOK", number:
                return b"FULL" if lockers.is_full(number_of(lockers, number)) else b"EMPTY"
            case b"TAKE", number, seconds:
                taken = lockers.take(number_of(lockers, number), seconds_of(seconds))
                return taken.addCallback(lambda text: b"EMPTY" if text is None else b"TEXT " + text)
            case _:
                raise ValueError("this is no request")

    def refuse(self, failure):
        failure.trap(ValueError)
        return b"ERROR " + failure.getErrorMessage().encode()

    def answer(self, line):
        self.sendLine(line)
        self.setTimeout(self.factory.idle)
        self.resumeProducing()

    def failed(self, failure):
        if not failure.check(CancelledError):
            log.failure("A request failed", failure)
            self.hang_up()

    def lineLengthExceeded(self, line):
        self.sendLine(b"ERROR this line is too long")
        self.hang_up()

    def timeoutConnection(self):
        if self.transport.disconnecting:
            self.transport.abortConnection()
        else:
            self.hang_up()

    def hang_up(self):
        """Says so, and returns a Deferred that fires when the connection has ended."""
        self._answering.cancel()
        self.sendLine(b"BYE")
        self.transport.loseConnection()
        self.setTimeout(LINGER)
        return self._gone


class LockerFactory(Factory):
    protocol = LockerProtocol

    def __init__(self, lockers, idle):
        self.lockers = lockers
        self.idle = idle
        self.clients = set()

    def hang_up(self):
        return DeferredList([client.hang_up() for client in self.clients])


def number_of(lockers, word):
    if not word.isdigit() or int(word) >= len(lockers):
        raise ValueError("there is no such locker")
    return int(word)


def seconds_of(word):
    seconds = float(word)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValueError("nobody waits that long")
    return seconds


async def serve(reactor, lockers, port, idle):
    factory = LockerFactory(lockers, idle)
    listening = await TCP4ServerEndpoint(reactor, port, interface="127.0.0.1").listen(factory)

    async def stop():
        await listening.stopListening()
        await factory.hang_up()

    reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(stop()))
    print("listening on port", listening.getHost().port, flush=True)
    await Deferred()  # until SIGINT or SIGTERM stops the reactor


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    react(lambda reactor: serve(reactor, Lockers(reactor), options.port, options.idle))
