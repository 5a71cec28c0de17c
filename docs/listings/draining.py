"""A handler that says goodbye when its server closes."""

import bridgeio


async def polite_echo(reader, writer):
    async with bridgeio.create_task_group() as group:
        group.start_soon(say_goodbye, writer, group.cancel_scope)
        async for line in reader:
            writer.write(line)
            await writer.drain()
        group.cancel_scope.cancel()


async def say_goodbye(writer, everything):
    await bridgeio.current_server().closing.wait()
    writer.write(b"The server is closing.\n")
    everything.cancel()
