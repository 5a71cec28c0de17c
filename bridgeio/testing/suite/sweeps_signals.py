"""Chapter: sweeps of signals. A wait that is cancelled at any moment has taken none."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from signal import Signals

import pytest

import bridgeio
from bridgeio import open_signal_receiver
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio


def raise_here(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_signal() -> None:
    """Whichever wait is cancelled, each of two signals is read once: by it, or by who waits next."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        read: list[int] = []
        asked = [bridgeio.Event(), bridgeio.Event()]

        async def send() -> None:
            for event, number in zip(asked, (Signals.SIGURG, Signals.SIGWINCH), strict=True):
                await event.wait()
                raise_here(number)

        with open_signal_receiver(Signals.SIGURG, Signals.SIGWINCH) as signals:
            async with bridgeio.create_task_group() as group:
                group.start_soon(send)

                async def operation() -> None:
                    for event in asked:
                        event.set()
                        read.append(await anext(signals))

                yield operation
                for event in asked:
                    event.set()
                while len(read) < 2:
                    read.append(await anext(signals))
        assert sorted(read) == sorted((Signals.SIGURG, Signals.SIGWINCH))

    await sweep(world, name="a signal")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_signal_that_is_there() -> None:
    """Also where nobody has to wait for it."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        read: list[int] = []
        with open_signal_receiver(Signals.SIGURG) as signals:
            raise_here(Signals.SIGURG)

            async def operation() -> None:
                read.append(await anext(signals))

            yield operation
            if not read:
                read.append(await anext(signals))
        assert read == [Signals.SIGURG]

    await sweep(world, name="a signal that is there")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
