"""The echo server in Tornado's own way, for comparison: a TCPServer and its IOStreams."""

from __future__ import annotations

import asyncio
from typing import Any

from arguments import announce, arguments
from tornado.iostream import IOStream, StreamClosedError
from tornado.netutil import bind_sockets
from tornado.tcpserver import TCPServer


class EchoServer(TCPServer):
    async def handle_stream(self, stream: IOStream, address: Any) -> None:
        try:
            while True:
                line = await stream.read_until(b"\n")
                await stream.write(line)
        except StreamClosedError:
            pass


async def main(host: str, port: int) -> None:
    sockets = bind_sockets(port, host)
    server = EchoServer()
    server.add_sockets(sockets)
    announce(sockets[0].getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    options = arguments()
    asyncio.run(main(options.host, options.port))
