import pytest

import bridgeio

pytestmark = pytest.mark.bridgeio


async def echo_client(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def test_a_line_comes_back():
    async with bridgeio.serve(echo_client, "localhost") as server:
        reader, writer = await bridgeio.open_connection("localhost", server.port)
        async with writer:
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"


def test_in_synchronous_code_too(backend):
    bridgeio.run(test_a_line_comes_back, backend=backend)
