"""``python -m benchmarks.load PORT CONNECTIONS BYTES SECONDS``: a closed loop that checks every byte.

Each connection has one message in flight and sends the next when the whole answer is there. Prints
one line of JSON: messages, seconds, and latencies in microseconds. A wrong byte or a dropped
connection is an error.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
from time import perf_counter


class Client:
    """One connection; its messages differ from everybody's and from its own before."""

    def __init__(self, port: int, number: int, size: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._number = number
        self._size = size
        self._count = 0
        self._answer = bytearray()
        self._sent_at = 0.0
        self._message = b""

    def send(self) -> None:
        self._count += 1
        self._message = f"{self._number:06d}:{self._count:012d}:".encode().ljust(self._size - 1, b".") + b"\n"
        self._answer.clear()
        self._sent_at = perf_counter()
        self.sock.sendall(self._message)

    def receive(self) -> float | None:
        """The latency, if the answer is complete."""
        data = self.sock.recv(65536)
        if not data:
            raise SystemExit("the server dropped a connection")
        self._answer += data
        if len(self._answer) < self._size:
            return None
        if self._answer != self._message:
            raise SystemExit(f"sent {self._message[:40]!r}, got {bytes(self._answer[:40])!r}")
        return perf_counter() - self._sent_at


def main(port: int, connections: int, size: int, seconds: float) -> None:
    selector = selectors.DefaultSelector()
    clients = [Client(port, number, size) for number in range(connections)]
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
    started = perf_counter()
    for client in clients:
        client.send()
    latencies: list[float] = []
    while (now := perf_counter()) < started + seconds:
        for key, _ in selector.select(1.0):
            latency = key.data.receive()
            if latency is not None:
                latencies.append(latency)
                key.data.send()
    print(json.dumps(summary(latencies, now - started)))


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
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
