"""Two kinds of deadline: one that ends a block quietly, one that is an error."""

import bridgeio


async def impatient_echo(reader, writer, patience=5.0):
    with bridgeio.move_on_after(patience) as scope:
        while line := await reader.readline():
            scope.deadline = bridgeio.current_time() + patience
            writer.write(line)
            await writer.drain()
    if scope.cancelled_caught:
        writer.write(b"You have been silent for too long.\n")


async def first_line(host, port, seconds=3.0):
    with bridgeio.fail_after(seconds):
        reader, writer = await bridgeio.open_connection(host, port)
        async with writer:
            return await reader.readline()
