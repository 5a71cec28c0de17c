"""bridgeio inside a Trio application: its functions are awaited like any others."""

import trio

import bridgeio


async def shout(reader, writer):
    async for line in reader:
        await trio.sleep(0.001)  # Trio's functions, in a task that bridgeio started
        writer.write(line.upper())
        await writer.drain()


async def ask(port, question):
    reader, writer = await bridgeio.open_connection("localhost", port)
    async with writer:
        writer.write(question)
        await writer.drain()
        print(await reader.readline())


async def main():
    async with bridgeio.serve(shout, "localhost") as server:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, server.port, b"hello\n")


if __name__ == "__main__":
    trio.run(main)
