"""The lockers on asyncore: a channel for each client, callbacks for what has to wait, and a loop of one's own for time.

python before.py --port 7000
"""

import argparse
import heapq
import signal
import socket
import warnings
from collections import deque
from itertools import count
from math import inf
from time import monotonic

warnings.filterwarnings("ignore", "The asyn", DeprecationWarning)  # Python 3.11 says that these will go with 3.12

import asynchat  # noqa: E402
import asyncore  # noqa: E402

LONGEST_LINE = 1000  # bytes
LONGEST_WAIT = 60.0  # seconds
LINGER = 5.0  # seconds, for a client that does not read


class Timers:
    """What asyncore does not have."""

    def __init__(self):
        self._heap = []
        self._numbers = count()

    def call_later(self, seconds, callback):
        entry = [monotonic() + seconds, next(self._numbers), callback]
        heapq.heappush(self._heap, entry)
        return entry

    def cancel(self, entry):
        entry[2] = None

    def seconds_left(self):
        return self._heap[0][0] - monotonic() if self._heap else inf

    def run_due(self):
        while self.seconds_left() <= 0:
            callback = heapq.heappop(self._heap)[2]
            if callback is not None:
                callback()


class Lockers:
    """Places for one text each, the same for all connections."""

    def __init__(self, timers, number=100):
        self._timers = timers
        self._texts = [None] * number
        self._waiting = [deque() for _ in range(number)]

    def __len__(self):
        return len(self._texts)

    def put(self, number, text):
        """Whether there was room for it."""
        if self._texts[number] is not None:
            return False
        if self._waiting[number]:
            callback, timer = self._waiting[number].popleft()
            self._timers.cancel(timer)
            callback(text)
        else:
            self._texts[number] = text
        return True

    def is_full(self, number):
        return self._texts[number] is not None

    def take(self, number, seconds, callback):
        """Calls back with the text, or with None if nobody puts one in within so many seconds."""
        text, self._texts[number] = self._texts[number], None
        if text is not None:
            callback(text)
            return

        def give_up():
            self._waiting[number].remove(entry)
            callback(None)

        entry = (callback, self._timers.call_later(seconds, give_up))
        self._waiting[number].append(entry)


class Channel(asynchat.async_chat):
    """One client."""

    def __init__(self, sock, server):
        super().__init__(sock)
        self.server = server
        self._buffer = bytearray()
        self._lines = deque()
        self._busy = self._going_on = self._hanging_up = False
        self.set_terminator(b"\n")
        self._timer = server.timers.call_later(server.idle, self.hang_up)

    def readable(self):
        return not self._busy and super().readable()  # one request after the other

    def collect_incoming_data(self, data):
        if self._hanging_up:
            return
        self._buffer += data
        if len(self._buffer) > LONGEST_LINE:
            self.push(b"ERROR this line is too long\n")
            self.hang_up()

    def found_terminator(self):
        """Also while it is busy: asynchat goes through all that it has received."""
        self._lines.append(bytes(self._buffer))
        self._buffer.clear()
        self.go_on()

    def go_on(self):
        if self._going_on:  # called back at once, from carry_out
            return
        self._going_on = True
        while self._lines and not (self._busy or self._hanging_up):
            self.begin(self._lines.popleft())
        self._going_on = False

    def begin(self, line):
        if line.strip() == b"QUIT":
            self.hang_up()
            return
        self._busy = True
        self.server.timers.cancel(self._timer)  # whom we keep waiting is not idle
        try:
            self.carry_out(line)
        except ValueError as error:
            self.answer(b"ERROR " + str(error).encode())

    def carry_out(self, line):
        lockers = self.server.lockers
        match line.strip().split(None, 2):
            case b"PUT", number, text:
                self.answer(b"OK" if lockers.put(number_of(lockers, number), text) else b"FULL")
            case b"LOOK", number:
                self.answer(b"FULL" if lockers.is_full(number_of(lockers, number)) else b"EMPTY")
            case b"TAKE", number, seconds:
                lockers.take(number_of(lockers, number), seconds_of(seconds), self.taken)
            case _:
                raise ValueError("this is no request")

    def taken(self, text):
        self.answer(b"EMPTY" if text is None else b"TEXT " + text)
        self.go_on()

    def answer(self, line):
        self._busy = False
        if self._hanging_up:
            return
        self._timer = self.server.timers.call_later(self.server.idle, self.hang_up)
        self.push(line + b"\n")

    def hang_up(self):
        if self._hanging_up:
            return
        self._hanging_up = True
        self.server.timers.cancel(self._timer)
        self._timer = self.server.timers.call_later(LINGER, self.handle_close)
        self.push(b"BYE\n")
        self.close_when_done()

    def handle_close(self):
        self._hanging_up = True
        self.server.timers.cancel(self._timer)
        self.close()


def number_of(lockers, word):
    if not word.isdigit() or int(word) >= len(lockers):
        raise ValueError("there is no such locker")
    return int(word)


def seconds_of(word):
    seconds = float(word)
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValueError("nobody waits that long")
    return seconds


class Server(asyncore.dispatcher):
    def __init__(self, port, lockers, timers, idle):
        super().__init__()
        self.lockers = lockers
        self.timers = timers
        self.idle = idle
        self.create_socket()
        self.set_reuse_addr()
        self.bind(("127.0.0.1", port))
        self.listen(128)
        self.port = self.socket.getsockname()[1]

    def handle_accepted(self, sock, address):
        Channel(sock, self)


class Signals(asyncore.dispatcher):
    """Ends the loop's sleep at SIGINT and SIGTERM, and has the rest said goodbye to."""

    def __init__(self, servers):
        ours, pythons = socket.socketpair()
        pythons.setblocking(False)
        super().__init__(ours)
        self._servers = servers
        self._pythons = pythons
        signal.set_wakeup_fd(pythons.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: None)

    def writable(self):
        return False

    def handle_read(self):
        signal.set_wakeup_fd(-1)
        self._pythons.close()
        self.close()
        for server in self._servers:
            server.close()
        for channel in list(asyncore.socket_map.values()):
            channel.hang_up()


def loop(timers):
    """Until every channel is closed."""
    while asyncore.socket_map:
        asyncore.loop(timeout=min(30.0, max(0.0, timers.seconds_left())), use_poll=True, count=1)
        timers.run_due()


def main(port, idle):
    timers = Timers()
    server = Server(port, Lockers(timers), timers, idle)
    Signals([server])
    print("listening on port", server.port, flush=True)
    loop(timers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    main(options.port, options.idle)
