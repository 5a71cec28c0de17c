"""The echo server in plain synchronous code, a thread for each connection: no event loop, and nothing is awaited.

python echo_threads.py --port 8888
"""

from __future__ import annotations

import argparse
import socket
import threading
from contextlib import suppress

from echo_streams import echo_client

import bridgeio


async def serve_client(connection: socket.socket) -> None:
    reader, writer = bridgeio.wrap(connection)
    async with writer:
        await echo_client(reader, writer)


talk = bridgeio.blocking(serve_client)  # the very coroutine of the server beside, in whatever thread calls it


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves echo with a thread for each connection, without async.")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    options = parser.parse_args()
    with socket.create_server((options.host, options.port)) as listening, suppress(KeyboardInterrupt):
        print(f"listening on port {listening.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=talk, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
