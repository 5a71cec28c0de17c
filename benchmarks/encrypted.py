"""The same echo server under TLS, in each framework's own words; `ENCRYPTED` names them, `PAIRS` whose they are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from benchmarks.natives import CHUNK, Announce, tune

__all__ = ["ENCRYPTED", "PAIRS", "make_certificate", "server_context"]


def make_certificate(folder: Path) -> Path:
    """A certificate for ``localhost`` with its key, and itself its own authority."""
    import trustme

    authority = trustme.CA()
    file = folder / "certificate.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
    authority.cert_pem.write_to_path(file, append=True)
    return file


def server_context(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def _asyncio_streams(announce: Announce, context: ssl.SSLContext) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tune(writer.get_extra_info("socket"))
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def asyncio_streams(announce: Announce, context: ssl.SSLContext) -> None:
    asyncio.run(_asyncio_streams(announce, context))


def uvloop_streams(announce: Announce, context: ssl.SSLContext) -> None:
    import uvloop

    uvloop.run(_asyncio_streams(announce, context))


def trio_streams(announce: Announce, context: ssl.SSLContext) -> None:
    import trio

    async def echo(plain: trio.SocketStream) -> None:
        tune(plain.socket)
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        async with stream:
            while data := await stream.receive_some(CHUNK):
                await stream.send_all(data)

    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=4096)
        announce(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(echo, listeners)

    trio.run(main)


ENCRYPTED: dict[str, Callable[[Announce, ssl.SSLContext], None]] = {
    "asyncio streams": asyncio_streams,
    "uvloop streams": uvloop_streams,
    "trio SSLStream": trio_streams,
}
PAIRS: dict[str, tuple[str, ...]] = {
    "asyncio": ("asyncio streams",),
    "uvloop": ("uvloop streams",),
    "trio": ("trio SSLStream",),
}
