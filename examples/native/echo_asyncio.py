"""The echo server in asyncio's own way, for comparison: its streams."""

from __future__ import annotations

import asyncio

from arguments import announce, arguments


async def echo_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main(host: str, port: int) -> None:
    server = await asyncio.start_server(echo_client, host, port)
    announce(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    options = arguments()
    asyncio.run(main(options.host, options.port))
