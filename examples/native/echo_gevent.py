"""The echo server in gevent's own way, for comparison: a StreamServer, and blocking calls in greenlets."""

from __future__ import annotations

from typing import Any

from arguments import announce, arguments
from gevent.server import StreamServer
from gevent.socket import socket


def echo_client(sock: socket, address: Any) -> None:
    with sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(line)


if __name__ == "__main__":
    options = arguments()
    server = StreamServer((options.host, options.port), echo_client)
    server.start()
    announce(server.server_port)
    server.serve_forever()
