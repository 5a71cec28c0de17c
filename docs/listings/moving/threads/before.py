"""The lockers on blocking threads: a socketserver with a thread for each client, and locks around what they share.

python before.py --port 7000
"""

import argparse
import signal
import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from socket import SHUT_RD
from socketserver import StreamRequestHandler, ThreadingTCPServer

LONGEST_LINE = 1000  # bytes
LONGEST_WAIT = 60.0  # seconds


class ClosedError(Exception):
    """The lockers are closed: nobody gets anything any more."""


class Lockers:
    """Places for one text each, the same for all connections."""

    def __init__(self, number=100):
        self._lock = threading.Lock()
        self._texts = [None] * number
        self._waiting = [deque() for _ in range(number)]
        self._closed = False

    def __len__(self):
        return len(self._texts)

    def put(self, number, text):
        """Whether there was room for it."""
        with self._lock:
            if self._texts[number] is not None:
                return False
            if self._waiting[number]:
                self._waiting[number].popleft().put(text)
            else:
                self._texts[number] = text
            return True

    def is_full(self, number):
        return self._texts[number] is not None

    def take(self, number, seconds):
        """The text, or None if nobody puts one in within so many seconds."""
        mine = SimpleQueue()
        with self._lock:
            if self._closed:
                raise ClosedError
            text, self._texts[number] = self._texts[number], None
            if text is not None:
                return text
            self._waiting[number].append(mine)
        try:
            text = mine.get(timeout=seconds)
        except Empty:
            text = self._give_up(number, mine)
        if text is ClosedError:
            raise ClosedError
        return text

    def _give_up(self, number, mine):
        """Somebody may have given it a text after its time was up and before this."""
        with self._lock:
            if mine in self._waiting[number]:
                self._waiting[number].remove(mine)
                return None
        return mine.get()

    def close(self):
        """Whoever waits gets a ClosedError."""
        with self._lock:
            self._closed = True
            for waiting in self._waiting:
                while waiting:
                    waiting.popleft().put(ClosedError)


class Handler(StreamRequestHandler):
    """One client, in a thread of its own."""

    def setup(self):
        self.timeout = self.server.idle  # of the socket, for each read and write
        super().setup()

    def handle(self):
        with suppress(ClosedError, OSError):  # a TimeoutError, from a client that was silent, is one
            self.converse()
        with suppress(OSError):
            self.say(b"BYE")

    def converse(self):
        while line := self.rfile.readline(LONGEST_LINE + 1):
            if line.strip() == b"QUIT":
                return
            if len(line) > LONGEST_LINE:
                self.say(b"ERROR this line is too long")
                return
            try:
                self.say(carry_out(self.server.lockers, line))
            except ValueError as error:
                self.say(b"ERROR " + str(error).encode())

    def say(self, line):
        self.wfile.write(line + b"\n")


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


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port, handler, lockers, idle):
        super().__init__(("127.0.0.1", port), handler)
        self.lockers = lockers
        self.idle = idle
        self._sockets = set()

    def process_request(self, request, address):
        self._sockets.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self._sockets.discard(request)
        super().shutdown_request(request)

    def start(self):
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()
        return self.server_address[1]

    def stop(self):
        """Accepts no more, has every handler read the end of its stream, and waits for them."""
        self.shutdown()
        for sock in self._sockets.copy():
            with suppress(OSError):
                sock.shutdown(SHUT_RD)
        self.server_close()


def main(port, idle):
    lockers = Lockers()
    server = Server(port, Handler, lockers, idle)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # in the threads, too
    print("listening on port", server.start(), flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    lockers.close()
    server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    main(options.port, options.idle)
