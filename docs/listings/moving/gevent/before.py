"""The lockers on gevent: a StreamServer, and a greenlet for each client.

python before.py --port 7000
"""

import argparse
import signal
from contextlib import suppress
from functools import partial

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.queue import Empty, Full, Queue
from gevent.server import StreamServer

LONGEST_LINE = 1000  # bytes
LONGEST_WAIT = 60.0  # seconds


class Lockers:
    """Places for one text each, the same for all connections."""

    def __init__(self, number=100):
        self._places = [Queue(1) for _ in range(number)]

    def __len__(self):
        return len(self._places)

    def put(self, number, text):
        """Whether there was room for it."""
        try:
            self._places[number].put_nowait(text)
        except Full:
            return False
        return True

    def is_full(self, number):
        return self._places[number].full()

    def take(self, number, seconds):
        """The text, or None if nobody puts one in within so many seconds. Blocks its greenlet."""
        try:
            return self._places[number].get(timeout=seconds)
        except Empty:
            return None


def serve_client(lockers, idle, sock, address):
    try:
        with sock.makefile("rb") as lines:
            converse(lockers, idle, sock, lines)
    except (OSError, gevent.Timeout):
        pass
    finally:  # also when it is killed, because the server ends
        with suppress(OSError, gevent.Timeout), gevent.Timeout(1):
            sock.sendall(b"BYE\n")


def converse(lockers, idle, sock, lines):
    while True:
        with gevent.Timeout(idle):
            line = lines.readline(LONGEST_LINE + 1)
        if not line or line.strip() == b"QUIT":
            return
        if len(line) > LONGEST_LINE:
            sock.sendall(b"ERROR this line is too long\n")
            return
        answer = answer_to(lockers, line)
        with gevent.Timeout(idle):
            sock.sendall(answer + b"\n")


def answer_to(lockers, line):
    try:
        return carry_out(lockers, line)
    except ValueError as error:
        return b"ERROR " + str(error).encode()


def carry_out(lockers, line):
    match line.strip().split(None, 2):
        case b"PUT", number, text:
            return b"OK" if lockers.put(number_of(lockers, number), text) else b"FULL"
        case b"LOOK", number:
            return b"FULL" if lockers.is_full(number_of(lockers, number)) else b"EMPTY"
        case b"TAKE", number, seconds:
            text = lockers.take(number_of(lockers, number), seconds_of(seconds))
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
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, stop.set)
    return stop


def serve(lockers, port, idle):
    stop = until_signal()
    server = StreamServer(("127.0.0.1", port), partial(serve_client, lockers, idle), spawn=Pool())
    server.start()
    print("listening on port", server.server_port, flush=True)
    stop.wait()
    server.stop(timeout=0)  # kills the greenlets of the pool


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    serve(Lockers(), options.port, options.idle)
