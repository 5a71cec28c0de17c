"""The lockers on Tornado: a TCPServer, and a coroutine over each IOStream.

python before.py --port 7000
"""

import argparse
import asyncio
import signal
from contextlib import suppress
from datetime import timedelta

from tornado.gen import with_timeout
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.queues import Queue, QueueFull
from tornado.tcpserver import TCPServer
from tornado.util import TimeoutError as TornadoTimeoutError

LONGEST_LINE = 1000  # bytes
LONGEST_WAIT = 60.0  # seconds
LINGER = timedelta(seconds=5)  # for a client that does not read


class Lockers:
    """Places for one text each, the same for all connections."""

    def __init__(self, number=100):
        self._places = [Queue(maxsize=1) for _ in range(number)]

    def __len__(self):
        return len(self._places)

    def put(self, number, text):
        """Whether there was room for it."""
        try:
            self._places[number].put_nowait(text)
        except QueueFull:
            return False
        return True

    def is_full(self, number):
        return self._places[number].full()

    async def take(self, number, seconds):
        """The text, or None if nobody puts one in within so many seconds."""
        try:
            return await self._places[number].get(timeout=timedelta(seconds=seconds))
        except TornadoTimeoutError:
            return None


class LockerServer(TCPServer):
    def __init__(self, lockers, idle):
        super().__init__()
        self._lockers = lockers
        self._idle = timedelta(seconds=idle)
        self._conversations = set()

    async def handle_stream(self, stream, address):
        conversation = asyncio.current_task()
        self._conversations.add(conversation)
        try:
            await self.converse(stream)
        except (StreamClosedError, TornadoTimeoutError):
            pass
        except asyncio.CancelledError:
            pass  # by hang_up(), which waits for this
        finally:
            with suppress(StreamClosedError, TornadoTimeoutError):
                await with_timeout(LINGER, stream.write(b"BYE\n"), quiet_exceptions=StreamClosedError)
            stream.close()
            self._conversations.discard(conversation)

    async def converse(self, stream):
        while True:
            reading = stream.read_until(b"\n", max_bytes=LONGEST_LINE)
            line = await with_timeout(self._idle, reading, quiet_exceptions=StreamClosedError)
            if line.strip() == b"QUIT":
                return
            answer = await answer_to(self._lockers, line)
            await with_timeout(self._idle, stream.write(answer + b"\n"), quiet_exceptions=StreamClosedError)

    async def hang_up(self):
        """Ends all conversations."""
        conversations = list(self._conversations)
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations)


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


def number_of(lockers, word):
    if not word.isdigit() or int(word) >= len(lockers):
        raise ValueError("there is no such locker")
    return int(word)


def seconds_of(word):
    seconds = float(word)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValueError("nobody waits that long")
    return seconds


def until_signal():
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve(lockers, port, idle):
    stop = until_signal()
    sockets = bind_sockets(port, "127.0.0.1")
    server = LockerServer(lockers, idle)
    server.add_sockets(sockets)
    print("listening on port", sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.stop()
    await server.hang_up()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    asyncio.run(serve(Lockers(), options.port, options.idle))
