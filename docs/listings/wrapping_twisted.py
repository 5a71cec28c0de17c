"""A Twisted application: its endpoint, its service of Deferreds, and a new protocol that is a coroutine."""

from functools import partial

from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater, react

import bridgeio
from bridgeio_twisted import as_deferred, server_factory


class Prices:
    """What the application has: methods that return Deferreds."""

    def __init__(self, reactor):
        self._reactor = reactor

    def of(self, fruit):
        return deferLater(self._reactor, 0.01, {b"apple": 3, b"pear": 4}.get, fruit)


async def sell(prices, reader, writer):
    async for line in reader:
        price = await prices.of(line.strip())
        writer.write(b"%d\n" % price if price else b"none\n")
        await writer.drain()


async def ask(port):
    reader, writer = await bridgeio.open_connection("127.0.0.1", port)
    async with writer:
        writer.write(b"apple\nplum\n")
        for _ in range(2):
            print(await reader.readline())


async def main(reactor):
    factory = server_factory(partial(bridgeio.serve_stream, partial(sell, Prices(reactor))))
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(factory)
    await as_deferred(ask(port.getHost().port))
    await port.stopListening()
    await factory.cancel()


if __name__ == "__main__":
    react(main)
