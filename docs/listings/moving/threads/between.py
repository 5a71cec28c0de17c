"""The lockers on blocking threads: the old handler on one port, a coroutine of bridgeio's on another.

Both are called by a socketserver, and the lockers are bridgeio's: the old handler takes them through `blocking`.

python between.py --port 7000 --old-port 7001
"""

import argparse
import signal
from contextlib import contextmanager, suppress
from functools import partial
from math import inf

from before import LONGEST_LINE, ClosedError, Handler, Server, number_of, seconds_of

import bridgeio


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


class Ending:
    """Ends the waits of all threads at once, which blocking code cannot."""

    def __init__(self):
        self._scopes = set()
        self._ended = False

    @contextmanager
    def scope(self):
        with bridgeio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if self._ended:
                    scope.cancel()
                yield scope
            finally:
                self._scopes.discard(scope)

    async def end(self):
        self._ended = True
        for scope in self._scopes:
            scope.cancel()


class LockersForThreads:
    """The new lockers, as the old code knows them."""

    def __init__(self, lockers, ending):
        self._lockers = lockers
        self._ending = ending

    def __len__(self):
        return len(self._lockers)

    @bridgeio.blocking
    async def put(self, number, text):
        return self._lockers.put(number, text)

    @bridgeio.blocking
    async def is_full(self, number):
        return self._lockers.is_full(number)

    @bridgeio.blocking
    async def take(self, number, seconds):
        with self._ending.scope():
            return await self._lockers.take(number, seconds)
        raise ClosedError


class NewServer(Server):
    """Accepts as before, and gives each connection to a coroutine, in the thread that it has for it."""

    def __init__(self, port, handler, ending):
        super().__init__(port, handler, None, None)
        self._ending = ending

    @bridgeio.blocking
    async def finish_request(self, sock, address):
        with self._ending.scope():
            await bridgeio.serve_stream(self.RequestHandlerClass, sock, limit=LONGEST_LINE)


def main(port, old_port, idle):
    lockers, ending = Lockers(), Ending()
    new = NewServer(port, partial(serve_client, lockers, idle), ending)
    old = Server(old_port, Handler, LockersForThreads(lockers, ending), idle)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    print("listening on port", new.start(), flush=True)
    print("the old handler is on port", old.start(), flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    bridgeio.blocking(ending.end)()
    for server in (new, old):
        server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--old-port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    main(options.port, options.old_port, options.idle)
