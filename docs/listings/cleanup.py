"""A session that says goodbye however it ends, and waits for the answer, but no longer than two seconds."""

from contextlib import asynccontextmanager

import bridgeio


@asynccontextmanager
async def session(host, port):
    reader, writer = await bridgeio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        with bridgeio.move_on_after(2, shield=True):
            async with writer:
                writer.write(b"QUIT\r\n")
                await reader.readuntil(b"BYE\r\n")
