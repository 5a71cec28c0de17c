"""``python -m benchmarks.load PORT CONNECTIONS BYTES SECONDS [CERTIFICATE]``: a closed loop that checks every byte.

Each connection has one message in flight and sends the next when the whole answer is there. All have
had one answer when it prints an empty line, and it goes on when it reads one: what it costs to connect
is no part of a message. At the end it prints one line of JSON: messages, seconds, and latencies in
microseconds. A wrong byte or a dropped connection is an error. With the server's certificate, it speaks TLS.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
from collections.abc import Iterator
from time import perf_counter


class Client:
    """One connection. Its messages differ from everybody's, and each from the one before."""

    def __init__(self, port: int, number: int, size: int, context: ssl.SSLContext | None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            self.sock.setblocking(False)
        self._next, self._message = (
            f"{number:06d}:{turn}:".encode().ljust(size - 1, b".") + b"\n" for turn in ("even", "odd")
        )
        self._answer = b""
        self._sent_at = 0.0

    def send(self) -> None:
        self._message, self._next = self._next, self._message
        self._sent_at = perf_counter()
        self.sock.sendall(self._message)

    def receive(self) -> float | None:
        """The latency, if the answer is complete."""
        try:
            data = self.sock.recv(65536)
        except ssl.SSLWantReadError:  # half a record
            return None
        if data != self._message:
            data = self._answer + data
            if len(data) < len(self._message) and self._message.startswith(data) and data != self._answer:
                self._answer = data
                return None
            self._check(data)
        self._answer = b""
        return perf_counter() - self._sent_at

    def _check(self, data: bytes) -> None:
        if data == self._answer:
            raise SystemExit("the server dropped a connection")
        if data != self._message:
            raise SystemExit(f"sent {self._message[:40]!r}, got {data[:40]!r}")


def main(port: int, connections: int, size: int, seconds: float, certificate: str | None) -> None:
    context = None if certificate is None else ssl.create_default_context(cafile=certificate)
    clients: dict[int, Client] = {}
    ready = select.epoll()
    for number in range(connections):
        client = Client(port, number, size, context)
        clients[client.sock.fileno()] = client
        ready.register(client.sock, select.EPOLLIN)
    for client in clients.values():
        client.send()
    silent = connections
    while silent:
        silent -= len(list(answers(ready, clients)))
    print(flush=True)
    sys.stdin.readline()
    started = perf_counter()
    for client in clients.values():
        client.send()
    latencies: list[float] = []
    while (now := perf_counter()) < started + seconds:
        for client, latency in answers(ready, clients):
            latencies.append(latency)
            client.send()
    print(json.dumps(summary(latencies, now - started)), flush=True)


def answers(ready: select.epoll, clients: dict[int, Client]) -> Iterator[tuple[Client, float]]:
    """Who has had its whole answer by now, and how long that took."""
    for fd, _ in ready.poll(1.0):
        client = clients[fd]
        latency = client.receive()
        if latency is not None:
            yield client, latency


def summary(latencies: list[float], seconds: float) -> dict[str, float]:
    latencies.sort()

    def percentile(share: float) -> float:
        return round(latencies[int((len(latencies) - 1) * share)] * 1e6, 1)

    return {
        "messages": len(latencies),
        "seconds": seconds,
        "p50_us": percentile(0.50),
        "p99_us": percentile(0.99),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:6] or [None])
