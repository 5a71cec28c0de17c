"""bridgeio inside an asyncio application: its functions are awaited like any others."""

import asyncio

import bridgeio


async def shout(reader, writer):
    async for line in reader:
        await asyncio.sleep(0)  # asyncio's awaitables, in a task that bridgeio started
        writer.write(line.upper())
        await writer.drain()


async def main():
    async with bridgeio.serve(shout, "localhost") as server, asyncio.timeout(5):
        reader, writer = await bridgeio.open_connection("localhost", server.port)
        async with writer:
            writer.write(b"hello\n")
            await writer.drain()
            print(await reader.readline())


if __name__ == "__main__":
    asyncio.run(main())
