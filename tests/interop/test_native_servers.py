"""bridgeio's client on every backend against a server in each framework's own way."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

import bridgeio
from needs import absent
from programs import EXAMPLES

pytestmark = pytest.mark.bridgeio


@pytest.fixture(params=["asyncio", "gevent", "threads", "tornado", "trio", "twisted"])
def native_port(servers: Any, request: pytest.FixtureRequest) -> int:
    """The port of a server under ``examples/native``."""
    if request.param != "threads" and importlib.util.find_spec(request.param) is None:
        absent(f"{request.param} is not installed")
    port: int = servers(EXAMPLES / "native" / f"echo_{request.param}.py", ()).port
    return port


async def test_a_server_of_another_framework(native_port: int) -> None:
    """Lines come back one by one, several connections at once; then the server sees the end of each."""

    async def converse(number: int) -> None:
        reader, writer = await bridgeio.open_connection("127.0.0.1", native_port)
        async with writer:
            for turn in range(50):
                line = b"%d " % number * turn + b"\n"
                writer.write(line)
                await writer.drain()
                assert await reader.readline() == line
            writer.write_eof()
            assert await reader.read() == b""

    async with bridgeio.create_task_group() as group:
        for number in range(5):
            group.start_soon(converse, number)
