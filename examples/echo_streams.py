"""The echo server over a reader and a writer: one coroutine, on the framework that you name.

python echo_streams.py --backend twisted --port 8888
"""

from __future__ import annotations

import argparse

import bridgeio


async def echo_client(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()  # a client that does not read stops us here, and nobody else


def announce(server: bridgeio.Server) -> None:
    print(f"listening on port {server.port}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Echoes lines over TCP.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    options = parser.parse_args()
    bridgeio.run_server(echo_client, options.host, options.port, backend=options.backend, on_started=announce)


if __name__ == "__main__":
    main()
