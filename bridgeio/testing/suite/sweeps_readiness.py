"""Chapter: sweeps of waits for descriptors. A cancelled wait has changed nothing."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import bridgeio
from bridgeio.lowlevel import wait_readable, wait_writable
from bridgeio.testing.sweeping import Operation, sweep
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio


@pytest.mark.bridgeio_promise(2)
async def test_swept_waits_for_a_descriptor() -> None:
    """Whichever is cancelled, what came is still there, there is room again, and nobody waits any more."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        near, far = original("socket", "socketpair")()
        with near, far:
            near.setblocking(False)
            async with bridgeio.create_task_group() as group:
                group.start_soon(_answer, near, far)

                async def operation() -> None:
                    await wait_readable(near)
                    await wait_writable(near)

                yield operation
            await wait_readable(near)
            assert near.recv(10) == b"hello"
            await wait_writable(near)

    await sweep(world, name="waiting for a descriptor")


async def _answer(near: socket.socket, far: socket.socket) -> None:
    """Fills the one direction, then sends in the other, then makes room: each when the other side may be waiting."""
    sent = 0
    while True:
        try:
            sent += near.send(bytes(65536))
        except BlockingIOError:
            break
    await _a_while()
    far.send(b"hello")
    await _a_while()
    far.recv(sent)


async def _a_while() -> None:
    for _ in range(5):
        await bridgeio.sleep(0)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
