"""The lockers on gevent: the old handler on one port, a coroutine of bridgeio's on another, in greenlets both.

python between.py --port 7000 --old-port 7001
"""

import argparse
from contextlib import suppress
from functools import partial
from math import inf

import before
from before import LONGEST_LINE, Lockers, number_of, seconds_of, until_signal
from gevent.pool import Pool
from gevent.server import StreamServer

import bridgeio


@bridgeio.blocking
async def serve_socket(handler, sock, address):
    await bridgeio.serve_stream(handler, sock, limit=LONGEST_LINE)


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
            text = lockers.take(number_of(lockers, number), seconds_of(seconds))  # blocks this greenlet
            return b"EMPTY" if text is None else b"TEXT " + text
        case _:
            raise ValueError("this is no request")


def main(port, old_port, idle):
    stop = until_signal()
    lockers = Lockers()
    new = partial(serve_socket, partial(serve_client, lockers, idle))
    old = partial(before.serve_client, lockers, idle)
    servers = [
        StreamServer(("127.0.0.1", number), handle, spawn=Pool()) for number, handle in ((port, new), (old_port, old))
    ]
    for server, name in zip(servers, ("listening", "the old handler is"), strict=True):
        server.start()
        print(name, "on port", server.server_port, flush=True)
    stop.wait()
    for server in servers:
        server.stop(timeout=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--old-port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    main(options.port, options.old_port, options.idle)
