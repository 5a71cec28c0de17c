"""bridgeio in a Twisted application: `as_deferred` is the way in, and Deferreds are awaited inside.

The reactor is run by the application. When it stops, the server drains before the reactor ends.
"""

from __future__ import annotations

import argparse

from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater
from twisted.python import log

import bridgeio
from bridgeio_twisted import as_deferred


class Counter:
    """What the application does anyway."""

    seconds = -1

    def tick(self) -> None:
        self.seconds += 1
        if self.seconds:
            print(f"{self.seconds} s", flush=True)


async def echo_client(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        await deferLater(reactor, 0, lambda: None)  # a Deferred, beside bridgeio's own waits
        writer.write(line)
        await writer.drain()


async def serve_echo(port: int) -> None:
    async with bridgeio.serve(echo_client, "127.0.0.1", port) as server:
        print(f"listening on port {server.port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Twisted application that echoes lines over TCP.")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    LoopingCall(Counter().tick).start(1)
    as_deferred(serve_echo(parser.parse_args().port)).addErrback(log.err)
    reactor.run()
