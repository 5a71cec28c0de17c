"""The libraries of the examples, cancelled at each of their waits in turn: what their users rely on still is so."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

import bridgeio
import rediswire
from bridgeio.testing import sweep
from redis_servers import RedisServer

pytest.importorskip("wsproto", reason="wsproto is not installed: pip install 'bridgeio[test]'")

import wswire

pytestmark = pytest.mark.bridgeio

Operation = Callable[[], Coroutine[Any, Any, object]]


async def test_commands(redis: RedisServer) -> None:
    """Connecting, sending, waiting: a cancelled command spoils nothing for those after it, and is done once or not at
    all."""

    @asynccontextmanager
    async def counting() -> AsyncIterator[Operation]:
        key = uuid.uuid4().hex
        async with rediswire.Redis(path=redis.path, database=1) as client:

            async def operation() -> None:
                assert await client.execute("ECHO", "hello") == b"hello"
                assert await client.pipeline([("INCR", key), ("ECHO", "again")]) == [1, b"again"]

            yield operation
            assert await client.execute("ECHO", "after") == b"after"
            assert await client.execute("GET", key) in (None, b"1")
            assert await client.execute("DEL", key) in (0, 1)

    await sweep(counting)


async def test_messages(redis: RedisServer) -> None:
    """Subscribing and receiving: no message is lost, and none comes twice."""

    @asynccontextmanager
    async def listening() -> AsyncIterator[Operation]:
        channel = uuid.uuid4().hex
        got: list[bytes] = []
        async with rediswire.Redis(path=redis.path) as client, client.subscribe(channel) as messages:
            await client.pipeline([("PUBLISH", channel, "one"), ("PUBLISH", channel, "two" * 50_000)])

            async def operation() -> None:
                while len(got) < 2:
                    got.append((await anext(messages)).data)

            yield operation
            await operation()
            assert got == [b"one", b"two" * 50_000]

    await sweep(listening)


async def test_websockets() -> None:
    """Sending and receiving: no message is lost, none comes twice, and the goodbye is said."""
    codes: list[int] = []

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        handshake = await wswire.Handshake.receive(reader, writer)
        async with handshake.accept() as websocket:
            async for message in websocket:
                await websocket.send(message)
        assert websocket.closed is not None
        codes.append(websocket.closed.code)

    @asynccontextmanager
    async def talking(port: int) -> AsyncIterator[Operation]:
        sent = 0
        got: list[wswire.Message] = []
        async with await wswire.connect(f"ws://127.0.0.1:{port}/") as websocket:

            async def operation() -> None:
                nonlocal sent
                while len(got) < 2:
                    if sent == len(got):
                        await websocket.send(f"{sent}" * 20_000)
                        sent += 1
                    got.append(await websocket.receive())

            yield operation
            await operation()
            assert got == ["0" * 20_000, "1" * 20_000]

    async with bridgeio.serve(echo, "127.0.0.1") as server:
        await sweep(partial(talking, server.port))
    assert set(codes) == {1000}
