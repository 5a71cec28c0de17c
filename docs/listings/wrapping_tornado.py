"""A Tornado TCPServer keeps its login, and hands its IOStream to a bridgeio coroutine for the rest."""

import asyncio

from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

import bridgeio


async def shout(reader, writer):
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()


class Server(TCPServer):
    async def handle_stream(self, stream, address):
        name = await stream.read_until(b"\n")  # as it has always been
        await stream.write(b"hello " + name)
        await bridgeio.serve_stream(shout, stream)


async def main():
    listener, port = bind_unused_port()
    server = Server()
    server.add_socket(listener)
    reader, writer = await bridgeio.open_connection("127.0.0.1", port)
    async with writer:
        writer.write(b"ann\nis anybody there?\n")
        for _ in range(2):
            print(await reader.readline())
    server.stop()


if __name__ == "__main__":
    asyncio.run(main())
