"""A client: it sends lines, ends its side, and returns what comes back."""

import bridgeio


async def ask(host, port, lines):
    reader, writer = await bridgeio.open_connection(host, port)
    async with writer:
        writer.writelines(lines)
        writer.write_eof()
        await writer.drain()
        return [line async for line in reader]
