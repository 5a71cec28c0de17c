"""The lockers on bridgeio: one program, on the framework that you name.

python after.py --backend twisted --port 7000
"""

import argparse
from contextlib import suppress
from functools import partial
from math import inf

import bridgeio

LONGEST_LINE = 1000  # bytes
LONGEST_WAIT = 60.0  # seconds


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


def number_of(lockers, word):
    if not word.isdigit() or int(word) >= len(lockers):
        raise ValueError("there is no such locker")
    return int(word)


def seconds_of(word):
    seconds = float(word)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValueError("nobody waits that long")
    return seconds


def announce(server):
    print("listening on port", server.port, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends())
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    bridgeio.run_server(
        partial(serve_client, Lockers(), options.idle),
        "127.0.0.1",
        options.port,
        backend=options.backend,
        limit=LONGEST_LINE,
        grace=0,  # at SIGTERM nobody is waited for: everybody hears BYE
        on_started=announce,
    )


if __name__ == "__main__":
    main()
