"""bridgeio in a Trio application: just await.

The application is Trio's: its run, its nursery, its counter. The echo server is one more task.
"""

from __future__ import annotations

import argparse
from functools import partial

import trio
import trio.lowlevel

import bridgeio


async def count() -> None:
    """What the application does anyway."""
    for second in range(1, 1_000_000):
        await trio.sleep(1)
        print(f"{second} s", flush=True)


async def echo_client(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        with trio.fail_after(10):  # Trio's own scopes end bridgeio's waits
            await trio.lowlevel.checkpoint()  # and Trio's waits stand beside them
            writer.write(line)
            await writer.drain()


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        # bridgeio's task_status is Trio's: what starts in one kind of group starts in the other.
        server = await nursery.start(partial(bridgeio.serve_task, echo_client, "127.0.0.1", port))
        print(f"listening on port {server.port}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Trio application that echoes lines over TCP.")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    trio.run(main, parser.parse_args().port)
