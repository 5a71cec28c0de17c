"""bridgeio in a gevent application: `spawn` gives a Greenlet, and gevent's calls may block inside.

The application is gevent's: its hub, its greenlets, its counter. It is patched, as such applications
are; bridgeio works before and after.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

import bridgeio  # noqa: E402
import bridgeio_gevent  # noqa: E402


def count() -> None:
    """What the application does anyway."""
    for second in range(1, 1_000_000):
        time.sleep(1)  # gevent's by now: it blocks this greenlet only
        print(f"{second} s", flush=True)


async def echo_client(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        gevent.sleep(0)  # any blocking call of gevent's, beside bridgeio's awaits
        writer.write(line)
        await writer.drain()


async def serve_echo(port: int) -> None:
    async with bridgeio.serve(echo_client, "127.0.0.1", port) as server:
        print(f"listening on port {server.port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A gevent application that echoes lines over TCP.")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    serving = bridgeio_gevent.spawn(serve_echo, parser.parse_args().port)
    gevent.joinall([serving, gevent.spawn(count)], raise_error=True)
