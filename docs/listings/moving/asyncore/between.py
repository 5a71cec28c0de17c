"""The lockers on asyncore: the old channels on one port, a coroutine of bridgeio's on another.

asyncore's loop goes on in the main thread, and bridgeio runs in another, behind a portal. The lockers are bridgeio's.

python between.py --port 7000 --old-port 7001
"""

import argparse
import socket
import warnings
from collections import deque
from contextlib import suppress
from functools import partial
from math import inf

warnings.filterwarnings("ignore", "The asyn", DeprecationWarning)

import asyncore  # noqa: E402

from before import LONGEST_LINE, Server, Signals, Timers, loop, number_of, seconds_of  # noqa: E402

import bridgeio  # noqa: E402
from bridgeio.from_thread import start_blocking_portal  # noqa: E402


class Lockers:
    """Places for one text each, the same for all connections."""

    def __init__(self, number=100):
        self._places = [bridgeio.Queue(1) for _ in range(number)]

    def __len__(self):
        return len(self._places)

    def put(self, number, text):
        """Whether there was room for it."""
        try:
            self._places[number].put_nowait(text)
        except bridgeio.QueueFull:
            return False
        return True

    def is_full(self, number):
        return self._places[number].full()

    async def take(self, number, seconds):
        """The text, or None if nobody puts one in within so many seconds. Cancelled, it has taken nothing."""
        try:
            return self._places[number].get_nowait()
        except bridgeio.QueueEmpty:
            with bridgeio.move_on_after(seconds):
                return await self._places[number].get()
            return None


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


class Calls(asyncore.dispatcher):
    """Calls that other threads want made in asyncore's, which has no way of its own for that."""

    def __init__(self):
        ours, self._theirs = socket.socketpair()
        super().__init__(ours)
        self._theirs.setblocking(False)
        self._calls = deque()

    def call_soon(self, function, *args):
        self._calls.append((function, args))
        with suppress(OSError):  # it is closed, or a thousand bytes are on their way already
            self._theirs.send(b"\0")

    def writable(self):
        return False

    def handle_read(self):
        self.recv(4096)
        while self._calls:
            function, args = self._calls.popleft()
            function(*args)

    def hang_up(self):
        self.close()
        self._theirs.close()


class LockersForChannels:
    """The new lockers, as the old code knows them."""

    def __init__(self, lockers, portal, calls):
        self._lockers = lockers
        self._portal = portal
        self._calls = calls

    def __len__(self):
        return len(self._lockers)

    def put(self, number, text):
        return self._portal.call(self._lockers.put, number, text)

    def is_full(self, number):
        return self._portal.call(self._lockers.is_full, number)

    def take(self, number, seconds, callback):
        def taken(future):  # in the portal's thread
            if not future.cancelled():
                self._calls.call_soon(callback, future.result())

        self._portal.start_task_soon(self._lockers.take, number, seconds).add_done_callback(taken)


class NewServer(asyncore.dispatcher):
    """Accepts as before, and gives each connection to a coroutine behind the portal."""

    def __init__(self, port, handler, portal):
        super().__init__()
        self._handler = handler
        self._portal = portal
        self.create_socket()
        self.set_reuse_addr()
        self.bind(("127.0.0.1", port))
        self.listen(128)
        self.port = self.socket.getsockname()[1]

    def handle_accepted(self, sock, address):
        self._portal.start_task_soon(self._serve, sock, name=f"client {address}")

    async def _serve(self, sock):
        await bridgeio.serve_stream(self._handler, sock, limit=LONGEST_LINE)


def main(backend, port, old_port, idle):
    timers, calls = Timers(), Calls()
    with start_blocking_portal(backend) as portal:
        lockers = Lockers()
        new = NewServer(port, partial(serve_client, lockers, idle), portal)
        old = Server(old_port, LockersForChannels(lockers, portal, calls), timers, idle)
        Signals([new, old])
        print("listening on port", new.port, flush=True)
        print("the old handler is on port", old.port, flush=True)
        loop(timers)  # until a signal closes every channel
        portal.call(portal.stop, True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends())
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--old-port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    main(options.backend, options.port, options.old_port, options.idle)
