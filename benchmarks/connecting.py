"""``python -m benchmarks.connecting JSON``: connections opened, one after the other or all at once; see `Wanted`.

It prints an empty line, goes on when it reads one, and prints one line of JSON at the end, see `Opened`.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import perf_counter

from benchmarks.server import allow_many_connections

__all__ = ["Opened", "Wanted"]

MESSAGE = b"x" * 63 + b"\n"


@dataclass(frozen=True)
class Wanted:
    """What a client is to do.

    :ivar count: connections in all.
    :ivar at_once: how many of them may be under way; with all of them it is a burst.
    """

    port: int
    count: int
    at_once: int


@dataclass(frozen=True)
class Opened:
    """:ivar seconds: until each had its answer."""

    connections: int
    seconds: float


def run(wanted: Wanted) -> Opened:
    """Each connects, says one message, hears it again, and closes."""
    ready = select.epoll()
    under_way: dict[int, socket.socket] = {}
    begun = done = 0
    started = perf_counter()
    while done < wanted.count:
        while begun < wanted.count and len(under_way) < wanted.at_once:
            sock = socket.socket()
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", wanted.port))
            under_way[sock.fileno()] = sock
            ready.register(sock, select.EPOLLOUT)
            begun += 1
        for fd, events in ready.poll():
            sock = under_way[fd]
            if events & select.EPOLLOUT:
                if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise SystemExit(f"a connection failed: {error}")
                sock.sendall(MESSAGE)
                ready.modify(sock, select.EPOLLIN)
                continue
            data = sock.recv(len(MESSAGE) + 1)
            if data != MESSAGE:
                raise SystemExit(f"expected {MESSAGE!r}, got {data!r}")
            del under_way[fd]
            ready.unregister(sock)
            sock.close()
            done += 1
    return Opened(done, perf_counter() - started)


if __name__ == "__main__":
    allow_many_connections()
    print(flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(run(Wanted(**json.loads(sys.argv[1]))))), flush=True)
