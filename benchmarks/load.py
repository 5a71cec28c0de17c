"""``python -m benchmarks.load JSON``: a closed loop that checks every byte; see `Asked`.

Each connection has so many messages in flight, and sends the next when an answer is there. All have had one answer
when this prints an empty line, and it goes on when it reads one: what it costs to connect is no part of a message.
At the end it prints one line of JSON, see `Found`. A wrong byte or a dropped connection is an error.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from time import perf_counter

from benchmarks.natives import MEBIBYTE
from benchmarks.server import allow_many_connections

__all__ = ["Asked", "Found"]


@dataclass(frozen=True)
class Asked:
    """What a load is to do.

    :ivar job: the server's, see `benchmarks.natives`.
    :ivar size: bytes of a message, which for a source is the answer.
    :ivar depth: messages in flight on each connection.
    :ivar idle: connections more, that say nothing.
    :ivar certificate: the server's, for TLS.
    """

    port: int
    job: str
    connections: int
    size: int
    depth: int
    idle: int
    seconds: float
    certificate: str | None


@dataclass(frozen=True)
class Found:
    """:ivar events: how many connections were ready at once, on average, when the load looked."""

    messages: int
    seconds: float
    p50_us: float
    p99_us: float
    events: float


class Talk:
    """What one connection says, and must hear: two messages in turn, which differ from everybody's."""

    def __init__(self, asked: Asked, number: int) -> None:
        messages = [f"{number:06d}:{turn}:".encode().ljust(asked.size - 1, b".") + b"\n" for turn in ("even", "odd")]
        if asked.job == "source":
            self.questions, self.answers = [b"?", b"!"], [MEBIBYTE, MEBIBYTE]
        elif asked.job == "sink":
            self.answers = [b"e", b"o"]
            self.questions = [MEBIBYTE[:-1] + answer for answer in self.answers]
        else:
            self.questions = self.answers = messages


class Client:
    """One connection."""

    def __init__(self, asked: Asked, talk: Talk, context: ssl.SSLContext | None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", asked.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            self.sock.setblocking(False)
        self._questions, self._size = talk.questions, len(talk.answers[0])
        self._window = asked.depth * self._size  # what may come at most
        self._expected = b"".join(talk.answers) * (asked.depth // 2 + 2)
        self._sent = 0
        self._heard = 0
        self._sent_at: deque[float] = deque()

    def send(self, count: int) -> None:
        """So many messages, at once."""
        questions = self._questions
        if count == 1:
            self.sock.sendall(questions[self._sent % 2])
        else:
            self.sock.sendall(b"".join(questions[(self._sent + i) % 2] for i in range(count)))
        self._sent += count
        self._sent_at.extend([perf_counter()] * count)

    def receive(self) -> list[float]:
        """The latencies of the answers that are complete now."""
        try:
            data = self.sock.recv(self._window + 1)
        except ssl.SSLWantReadError:  # a part of a record
            return []
        at = self._heard % (2 * self._size)
        if not data or data != self._expected[at : at + len(data)]:
            self._complain(data, at)
        complete = (self._heard + len(data)) // self._size - self._heard // self._size
        self._heard += len(data)
        now, sent_at = perf_counter(), self._sent_at
        return [now - sent_at.popleft() for _ in range(complete)]

    def _complain(self, data: bytes, at: int) -> None:
        if not data:
            raise SystemExit("the server dropped a connection")
        raise SystemExit(f"expected {self._expected[at : at + 40]!r}, got {data[:40]!r}")


class Load:
    """All the connections, and which of them are ready."""

    def __init__(self, asked: Asked) -> None:
        context = None if asked.certificate is None else ssl.create_default_context(cafile=asked.certificate)
        self._asked = asked
        self._idle = [socket.create_connection(("127.0.0.1", asked.port)) for _ in range(asked.idle)]
        self._clients: dict[int, Client] = {}
        self._ready = select.epoll()
        self._looks = self._events = 0
        for number in range(asked.connections):
            client = Client(asked, Talk(asked, number), context)
            self._clients[client.sock.fileno()] = client
            self._ready.register(client.sock, select.EPOLLIN)

    def warm_up(self) -> None:
        """One answer on each connection."""
        self._send_all(1)
        missing = len(self._clients)
        while missing:
            missing -= sum(len(latencies) for _, latencies in self._answers())

    def run(self) -> Found:
        self._looks = self._events = 0
        latencies: list[float] = []
        started = perf_counter()
        self._send_all(self._asked.depth)
        while (now := perf_counter()) < started + self._asked.seconds:
            for client, found in self._answers():
                if found:
                    latencies += found
                    client.send(len(found))
        latencies.sort()
        return Found(
            messages=len(latencies),
            seconds=now - started,
            p50_us=_percentile(latencies, 0.50),
            p99_us=_percentile(latencies, 0.99),
            events=round(self._events / max(1, self._looks), 1),
        )

    def _send_all(self, count: int) -> None:
        for client in self._clients.values():
            client.send(count)

    def _answers(self) -> Iterator[tuple[Client, list[float]]]:
        found = self._ready.poll(1.0)
        self._looks += 1
        self._events += len(found)
        for fd, _ in found:
            client = self._clients[fd]
            yield client, client.receive()


def _percentile(latencies: list[float], share: float) -> float:
    if not latencies:
        raise SystemExit("the server answered nothing in time")
    return round(latencies[int((len(latencies) - 1) * share)] * 1e6, 1)


def main(asked: Asked) -> None:
    allow_many_connections()
    load = Load(asked)
    load.warm_up()
    print(flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(load.run())), flush=True)


if __name__ == "__main__":
    main(Asked(**json.loads(sys.argv[1])))
