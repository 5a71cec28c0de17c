"""One protocol over whatever has been opened: a socket, a stream of the framework's, an object of AnyIO's."""

import bridgeio


async def greet(native):
    reader, writer = bridgeio.wrap(native)
    async with writer:
        writer.write(b"who are you?\n")
        name = await reader.readline()
        writer.write(b"hello " + name)
