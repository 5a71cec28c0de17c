"""The echo server with blocking sockets and a thread for each client, for comparison."""

from __future__ import annotations

import socket
import threading

from arguments import announce, arguments


def echo_client(sock: socket.socket) -> None:
    with sock, sock.makefile("rb") as lines:
        for line in lines:
            sock.sendall(line)


def main(host: str, port: int) -> None:
    with socket.create_server((host, port)) as listener:
        announce(listener.getsockname()[1])
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=echo_client, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    options = arguments()
    main(options.host, options.port)
