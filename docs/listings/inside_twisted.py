"""bridgeio inside a Twisted application: as_deferred() is the way in, and Deferreds are awaited inside."""

from twisted.internet import task

import bridgeio
from bridgeio_twisted import as_deferred


async def shout(reader, writer):
    async for line in reader:
        writer.write(line.upper())
        await writer.drain()


async def conversation(reactor):
    async with bridgeio.serve(shout, "localhost") as server:
        with bridgeio.fail_after(5):
            await task.deferLater(reactor, 0, lambda: None)  # any Deferred, in a bridgeio task
            reader, writer = await bridgeio.open_connection("localhost", server.port)
            async with writer:
                writer.write(b"hello\n")
                await writer.drain()
                print(await reader.readline())


def main(reactor):
    return as_deferred(conversation(reactor))


if __name__ == "__main__":
    task.react(main)
