"""An echo server and its client, for tests that only ask whether streams work at a place."""

from __future__ import annotations

import bridgeio

__all__ = ["ask", "echo", "echo_round"]


async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def ask(port: int, question: bytes) -> bytes:
    """What an echo server answers; a client on whatever backend awaits it."""
    reader, writer = await bridgeio.open_connection("127.0.0.1", port)
    async with writer:
        writer.write(question)
        writer.write_eof()
        return await reader.read()


async def echo_round() -> None:
    """Server and client in one run, from the first step to the last."""
    async with bridgeio.serve(echo, "127.0.0.1") as server:
        assert await ask(server.port, b"round") == b"round"
