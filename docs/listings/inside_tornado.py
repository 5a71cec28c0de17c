"""bridgeio inside a Tornado application: a web handler asks a TCP server."""

import asyncio

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

import bridgeio


async def shout(reader, writer):
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()


class Ask(RequestHandler):
    async def get(self, question):
        with bridgeio.fail_after(5):
            reader, writer = await bridgeio.open_connection("localhost", self.settings["shouting_port"])
            async with writer:
                writer.write(question.encode() + b"\n")
                await writer.drain()
                self.write(await reader.readline())


async def main():
    async with bridgeio.serve(shout, "localhost") as server:
        web_socket, web_port = bind_unused_port()
        web = HTTPServer(Application([(r"/(\w+)", Ask)], shouting_port=server.port))
        web.add_socket(web_socket)
        answer = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{web_port}/hello")
        print(answer.body)
        web.stop()


if __name__ == "__main__":
    asyncio.run(main())
