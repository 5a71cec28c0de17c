"""bridgeio in an asyncio application: just await.

The application is asyncio's: its loop, its tasks, its counter. The echo server is one more awaitable.
"""

from __future__ import annotations

import argparse
import asyncio

import bridgeio


async def count() -> None:
    """What the application does anyway."""
    for second in range(1, 1_000_000):
        await asyncio.sleep(1)
        print(f"{second} s", flush=True)


async def echo_client(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        async with asyncio.timeout(10):  # asyncio's own means work around bridgeio's waits
            await asyncio.sleep(0)  # and its awaitables beside them
            writer.write(line)
            await writer.drain()


async def main(port: int) -> None:
    counting = asyncio.create_task(count())
    async with bridgeio.serve(echo_client, "127.0.0.1", port) as server:
        print(f"listening on port {server.port}", flush=True)
        await counting


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An asyncio application that echoes lines over TCP.")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    asyncio.run(main(parser.parse_args().port))
