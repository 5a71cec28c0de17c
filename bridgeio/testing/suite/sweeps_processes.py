"""Chapter: sweeps of processes. Cancelled at each wait: no zombie, no orphan, no descriptor, no byte lost."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.children import children_of, is_gone
from bridgeio.testing.neighbours import soon
from bridgeio.testing.resources import until
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio

BULK = bytes(range(256)) * 1024


def _children() -> set[int]:
    return children_of(os.getpid())


async def _none_new(before: set[int]) -> None:
    """Whoever has started one has seen to its end."""
    await until(lambda: _children() <= before)


async def test_a_swept_start() -> None:
    """A cancelled `open_process` has started nothing, or its caller has the process."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        before = _children()
        processes: list[bridgeio.Process] = []

        async def operation() -> None:
            processes.append(await bridgeio.open_process(["cat"]))

        yield operation
        assert len(_children() - before) == len(processes)
        for process in processes:
            await process.aclose()
        await _none_new(before)

    await sweep(world, name="open_process")


@pytest.mark.bridgeio_bug("inconsistent-stream")
async def test_a_swept_run() -> None:
    """A cancelled `run_process` leaves no process, whether it was feeding, reading or waiting."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        before = _children()

        async def operation() -> None:
            done = await bridgeio.run_process("tee /dev/stderr", input=BULK)
            assert done.stdout == done.stderr == BULK

        yield operation
        assert _children() <= before

    await sweep(world, name="run_process")


async def test_a_swept_run_with_one_pipe() -> None:
    """So it is where no task more is needed."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        before = _children()

        async def operation() -> None:
            done = await bridgeio.run_process(["cat"], input=BULK, stderr=None)
            assert done.stdout == BULK

        yield operation
        assert _children() <= before

    await sweep(world, name="run_process with one pipe")


async def _in_a_block(process: bridgeio.Process) -> None:
    async with process:
        await bridgeio.sleep(0)


LEAVING: dict[str, Callable[[bridgeio.Process], Awaitable[object]]] = {
    "aclose": lambda process: process.aclose(),
    "__aexit__": _in_a_block,
}


@pytest.mark.parametrize("name", LEAVING)
async def test_swept_ends(name: str) -> None:
    """However the block or ``aclose`` ends, the program and its pipes are gone by then; also a stubborn one."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        process = await bridgeio.open_process("trap '' TERM; echo ready; cat; exit 3", grace=0.01)
        assert process.stdout is not None
        await process.stdout.readline()

        async def operation() -> None:
            await LEAVING[name](process)

        yield operation
        assert is_gone(process.pid)
        assert process.returncode in {3, -signal.SIGTERM, -signal.SIGKILL}

    await sweep(world, name=name)


async def test_a_swept_wait() -> None:
    """A cancelled ``wait`` leaves the program alone, and its code to the next one."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with await bridgeio.open_process("read line; exit 3") as process:
            stdin: Any = process.stdin
            fed: list[bool] = []

            def feed_once() -> None:
                """A program that has its line may be gone before anybody knows of it, and then takes no other."""
                if not fed:
                    fed.append(True)
                    stdin.write(b"\n")

            async def feed() -> None:
                await soon(lambda: len(process._ending.line))
                feed_once()

            async with bridgeio.create_task_group() as group:
                group.start_soon(feed)

                async def operation() -> None:
                    assert await process.wait() == 3

                yield operation
                group.cancel_scope.cancel()
            feed_once()
            assert await process.wait() == 3

    await sweep(world, name="wait")


async def test_a_swept_read_of_a_pipe() -> None:
    """A cancelled read has taken nothing: what is read before and after it is all that was written."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with await bridgeio.open_process(["cat"]) as process:
            stdin: Any = process.stdin
            stdout: Any = process.stdout
            got: list[bytes] = []

            async def feed() -> None:
                for piece in (b"a first ", b"line\n", b"a second line\n"):
                    await soon(lambda: stdout._source.reader is not None)
                    stdin.write(piece)
                stdin.write_eof()

            async with bridgeio.create_task_group() as group:
                group.start_soon(feed)

                async def operation() -> None:
                    for _ in range(2):
                        got.append(await stdout.readline())

                yield operation
                rest = await stdout.read()
            assert b"".join(got) + rest == b"a first line\na second line\n"

    await sweep(world, name="reading a pipe")


async def test_a_swept_drain_of_a_pipe() -> None:
    """A cancelled ``drain`` leaves the bytes with the writer, and the program gets all of them."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with await bridgeio.open_process(["wc", "-c"]) as process:
            stdin: Any = process.stdin
            stdin.set_write_buffer_limits(high=0)
            process.send_signal(signal.SIGSTOP)
            stdin.write(BULK)
            assert stdin.get_write_buffer_size() > 0

            async def let_it_read() -> None:
                await soon(lambda: stdin._drainers)
                process.send_signal(signal.SIGCONT)

            async with bridgeio.create_task_group() as group:
                group.start_soon(let_it_read)
                yield stdin.drain
                group.cancel_scope.cancel()
            process.send_signal(signal.SIGCONT)
            stdin.write_eof()
            assert int(await process.stdout.read()) == len(BULK)  # type: ignore[union-attr]

    await sweep(world, name="draining a pipe")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
