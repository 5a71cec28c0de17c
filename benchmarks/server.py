"""``python -m benchmarks.server NAME``: one echo server; its port is the first line it prints."""

from __future__ import annotations

import sys

import bridgeio
from benchmarks.natives import CHUNK, NATIVES


def announce(port: int) -> None:
    print(port, flush=True)


async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


def main(name: str) -> None:
    if name in NATIVES:
        NATIVES[name](announce)
    else:
        backend = name.removeprefix("bridgeio on ")
        bridgeio.run_server(
            echo, "127.0.0.1", 0, backend=backend, on_started=lambda server: announce(server.port), grace=0
        )


if __name__ == "__main__":
    main(sys.argv[1])
