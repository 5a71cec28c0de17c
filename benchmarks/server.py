"""``python -m benchmarks.server NAME [CERTIFICATE]``: one echo server; its port is the first line it prints."""

from __future__ import annotations

import sys

import bridgeio
from benchmarks.encrypted import ENCRYPTED, server_context
from benchmarks.natives import CHUNK, NATIVES


def announce(port: int) -> None:
    print(port, flush=True)


async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


def main(name: str, certificate: str | None = None) -> None:
    context = None if certificate is None else server_context(certificate)
    if name in ENCRYPTED and context is not None:
        ENCRYPTED[name](announce, context)
    elif name in NATIVES:
        NATIVES[name](announce)
    else:
        backend = name.removeprefix("bridgeio on ")
        bridgeio.run_server(
            echo,
            "127.0.0.1",
            0,
            backend=backend,
            ssl=context,
            on_started=lambda server: announce(server.port),
            grace=0,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
