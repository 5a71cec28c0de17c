"""The echo server in Trio's own way, for comparison. Trio has no lines: it echoes what comes."""

from __future__ import annotations

from functools import partial

import trio
from arguments import announce, arguments


async def echo_client(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def main(host: str, port: int) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, echo_client, port, host=host))
        announce(listeners[0].socket.getsockname()[1])


if __name__ == "__main__":
    options = arguments()
    trio.run(main, options.host, options.port)
