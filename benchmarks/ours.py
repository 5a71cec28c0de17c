"""bridgeio's side of each job: one source for every backend. See `natives` for what a job is."""

from __future__ import annotations

import bridgeio
from benchmarks.natives import CHUNK, MEBIBYTE, Announce, server_context
from bridgeio.handlers import Handler

__all__ = ["serve"]


async def _echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _echo_in_time(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    """Under one timeout for the connection, that each message sets anew."""
    with bridgeio.fail_after(60) as scope:
        while data := await reader.read(CHUNK):
            scope.deadline = bridgeio.current_time() + 60
            writer.write(data)
            await writer.drain()


async def _lines(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


async def _sink(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    missing = len(MEBIBYTE)
    while data := await reader.read(min(CHUNK, missing)):
        missing -= len(data)
        if not missing:
            writer.write(data[-1:])
            await writer.drain()
            missing = len(MEBIBYTE)


async def _source(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while await reader.read(1):
        writer.write(MEBIBYTE)
        await writer.drain()


JOBS: dict[str, Handler] = {
    "echo": _echo,
    "echo in time": _echo_in_time,
    "lines": _lines,
    "sink": _sink,
    "source": _source,
}


def serve(backend: str, job: str, announce: Announce, certificate: str | None) -> None:
    bridgeio.run_server(
        JOBS[job],
        "127.0.0.1",
        0,
        backend=backend,
        ssl=server_context(certificate),
        on_started=lambda server: announce(server.port),
        grace=0,
    )
