"""The lockers on Tornado: the old server on one port; on another a TCPServer that hands its IOStream to a coroutine.

python between.py --port 7000 --old-port 7001
"""

import argparse
import asyncio
from contextlib import suppress
from functools import partial
from math import inf

from before import LONGEST_LINE, Lockers, LockerServer, number_of, seconds_of, until_signal
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer

import bridgeio


class NewLockerServer(TCPServer):
    def __init__(self, handler, group):
        super().__init__()
        self._serve = partial(bridgeio.serve_stream, handler, limit=LONGEST_LINE)
        self._group = group

    def handle_stream(self, stream, address):
        self._group.start_soon(self._serve, stream)


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


async def main(port, old_port, idle):
    stop = until_signal()
    lockers = Lockers()
    async with bridgeio.create_task_group() as group:
        new = NewLockerServer(partial(serve_client, lockers, idle), group)
        old = LockerServer(lockers, idle)
        for server, number, name in ((new, port, "listening"), (old, old_port, "the old handler is")):
            sockets = bind_sockets(number, "127.0.0.1")
            server.add_sockets(sockets)
            print(name, "on port", sockets[0].getsockname()[1], flush=True)
        await stop.wait()
        new.stop()
        old.stop()
        await old.hang_up()
        group.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--old-port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    asyncio.run(main(options.port, options.old_port, options.idle))
