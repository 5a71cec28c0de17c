"""Chapter: sweeps of standard streams. What a thread has read is not lost, and what it has written counts once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.reader import Reader
from bridgeio.registry import current_host
from bridgeio.standard import FileSink, FileSource
from bridgeio.testing.resources import until
from bridgeio.testing.sweeping import Operation, sweep
from bridgeio.unpatched import original
from bridgeio.writer import Writer

pytestmark = pytest.mark.bridgeio

LINES = b"one\ntwo\nthree\n"


@pytest.mark.bridgeio_promise(2)
async def test_swept_opening_of_standard_streams() -> None:
    """A cancelled opening has opened nothing that the next would not find."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async def operation() -> None:
            await bridgeio.open_stdin()
            await bridgeio.open_stdout()
            await bridgeio.open_stderr()

        yield operation

    await sweep(world, name="open standard streams")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_reader_over_threads(tmp_path: Path) -> None:
    """Every line is read once, in its order."""
    (tmp_path / "in").write_bytes(LINES)

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        fd = os.open(tmp_path / "in", os.O_RDONLY)
        source: Any = FileSource(current_host(), fd, "a file")
        reader = Reader(source)
        read: list[bytes] = []

        async def operation() -> None:
            read.append(await reader.readline())
            read.append(await reader.read(2))
            read.append(await reader.readline())

        yield operation
        read.append(await reader.read())
        await until(lambda: not source._busy)
        original("os", "close")(fd)
        assert b"".join(read) == LINES

    await sweep(world, name="read by threads")


@pytest.mark.bridgeio_promise(2)
async def test_cancelled_reads_over_threads() -> None:
    """However often a read is cancelled and begun anew, one thread reads, and nothing it has read is lost."""
    ours, theirs = os.pipe()
    source: Any = FileSource(current_host(), ours, "a pipe")
    reader = Reader(source)
    for _ in range(3):
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(reader.read, 1)
                await until(lambda: source._task is not None)
                scope.cancel()
        assert scope.cancelled_caught
    for data in (b"a", b"b", b"c"):
        os.write(theirs, data)
        for _ in range(10):
            await bridgeio.sleep(0.001)  # for another thread, if there were one, to take it
    assert await reader.readexactly(3) == b"abc"
    original("os", "close")(theirs)
    assert await reader.read() == b""
    original("os", "close")(ours)


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_writer_over_threads(tmp_path: Path) -> None:
    """What was taken is written once, in its order, whatever wait was cancelled."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        fd = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sink: Any = FileSink(current_host(), fd, "a file")
        writer = Writer(sink)
        writer.set_write_buffer_limits(0)
        written = bytearray()

        async def operation() -> None:
            for data in (b"a" * 70_000, b"b" * 10):
                writer.write(data)
                written.extend(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        yield operation
        writer.close()
        await writer.wait_closed()
        original("os", "close")(fd)
        assert (tmp_path / "out").read_bytes() == written

    await sweep(world, name="write by threads")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
