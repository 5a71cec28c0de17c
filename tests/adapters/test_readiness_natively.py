"""Waiting for a descriptor beside those who watch the same one by the framework's own means."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.lowlevel import wait_readable
from loops import run_native


def pair() -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    return near, far


async def waits_meanwhile(told: Callable[[], bool], send: Callable[[], object], sock: socket.socket) -> None:
    """A task of ours and somebody native both hear of one byte."""
    async with bridgeio.create_task_group() as group:
        group.start_soon(wait_readable, sock)
        await bridgeio.sleep(0.01)
        send()
        while not told():
            await bridgeio.sleep(0.001)


def test_beside_a_reader_of_asyncios(world: str) -> None:
    """`loop.add_reader` for the socket stays: it is told, and goes on being told."""
    import asyncio

    async def main() -> None:
        near, far = pair()
        with near, far:
            seen: list[bytes] = []
            loop = asyncio.get_running_loop()
            loop.add_reader(near, lambda: seen.append(near.recv(1)))
            try:
                for count in (1, 2):
                    await waits_meanwhile(lambda: len(seen) >= count, lambda: far.send(b"x"), near)  # noqa: B023
            finally:
                loop.remove_reader(near)
            assert seen == [b"x", b"x"]

    run_native(world, main)


def test_beside_a_transport_of_asyncios(world: str) -> None:
    """The loop lets nobody watch a descriptor that a transport of its has; a duplicate it does."""
    import asyncio

    async def main() -> None:
        near, far = pair()
        with far:
            reader, writer = await asyncio.open_connection(sock=near)
            sock: Any = writer.get_extra_info("socket")
            got: list[bytes] = []

            async def read() -> None:
                got.append(await reader.readexactly(1))

            async with bridgeio.create_task_group() as group:
                group.start_soon(read)
                await waits_meanwhile(lambda: bool(got), lambda: far.send(b"x"), sock)
            writer.close()
            await writer.wait_closed()

    run_native(world, main)


def test_beside_a_wait_of_trios() -> None:
    """`trio.lowlevel.wait_readable` for the same socket is told, too, and neither is a BusyResourceError."""
    trio = pytest.importorskip("trio")

    async def main() -> None:
        near, far = pair()
        with near, far:
            told: list[bool] = []

            async def wait() -> None:
                await trio.lowlevel.wait_readable(near)
                told.append(True)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await waits_meanwhile(lambda: bool(told), lambda: far.send(b"x"), near)

    trio.run(main)


def test_beside_a_wait_of_gevents() -> None:
    """`gevent.socket.wait_read` for the same descriptor is told, too."""
    gevent = pytest.importorskip("gevent")
    from gevent.socket import wait_read

    async def main() -> None:
        near, far = pair()
        with near, far:
            waiting = gevent.spawn(wait_read, near.fileno())
            await waits_meanwhile(waiting.ready, lambda: far.send(b"x"), near)
            assert waiting.successful()

    bridgeio.run(main, backend="gevent")
