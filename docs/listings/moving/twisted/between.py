"""The lockers on Twisted: the old service, the old protocol on one port, a coroutine of bridgeio's on another.

python between.py --port 7000 --old-port 7001
"""

import argparse
from contextlib import suppress
from functools import partial
from math import inf

from before import LONGEST_LINE, LockerFactory, Lockers, number_of, seconds_of
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react

import bridgeio
from bridgeio_twisted import server_factory


async def serve_client(lockers, idle, reader, writer):
    try:
        with bridgeio.move_on_after(idle) as patience:
            async for line in reader:
                if line.strip() == b"QUIT":
                    break
                patience.deadline = inf  # whom we keep waiting is not idle
                answer = await answer_to(lockers, line)
                patience.deadline = bridgeio.current_time() + idle
                writer.write(answer + b"\n")
                await writer.drain()
    except bridgeio.LimitOverrunError:
        writer.write(b"ERROR this line is too long\n")
    finally:  # also when it is cancelled, because the server ends: write() never waits
        with suppress(OSError):
            writer.write(b"BYE\n")


async def answer_to(lockers, line):
    try:
        return await carry_out(lockers, line)
    except ValueError as error:
        return b"ERROR " + str(error).encode()


async def carry_out(lockers, line):
    match line.strip().split(None, 2):
        case b"PUT", number, text:
            return b"OK" if lockers.put(number_of(lockers, number), text) else b"FULL"
        case b"LOOK", number:
            return b"FULL" if lockers.is_full(number_of(lockers, number)) else b"EMPTY"
        case b"TAKE", number, seconds:
            text = await lockers.take(number_of(lockers, number), seconds_of(seconds))
            return b"EMPTY" if text is None else b"TEXT " + text
        case _:
            raise ValueError("this is no request")


async def main(reactor, port, old_port, idle):
    lockers = Lockers(reactor)
    old = LockerFactory(lockers, idle)
    handler = partial(serve_client, lockers, idle)
    new = server_factory(partial(bridgeio.serve_stream, handler, limit=LONGEST_LINE))
    listening = [
        await TCP4ServerEndpoint(reactor, number, interface="127.0.0.1").listen(factory)
        for number, factory in ((port, new), (old_port, old))
    ]

    async def stop():
        for stopping in [each.stopListening() for each in listening]:
            await stopping
        for ending in (old.hang_up(), new.cancel()):
            await ending

    reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(stop()))
    print("listening on port", listening[0].getHost().port, flush=True)
    print("the old handler is on port", listening[1].getHost().port, flush=True)
    await Deferred()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--old-port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    react(main, (options.port, options.old_port, options.idle))
