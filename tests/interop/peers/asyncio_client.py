"""asyncio's own streams as a client: sends what it is told, ends its side, prints what comes back."""

import asyncio
import sys


async def main(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(sys.stdin.buffer.read())
        await writer.drain()
        writer.write_eof()

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        answer = group.create_task(reader.read())
    sys.stdout.buffer.write(answer.result())
    writer.close()
    await writer.wait_closed()


asyncio.run(main(int(sys.argv[1])))
