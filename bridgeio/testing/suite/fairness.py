"""Chapter: fairness. One busy connection does not starve the others, nor the host's own timers.

None of these tests looks at a clock: each shows that others get their turn while the greedy one has
still work to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from math import inf

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.peers import Flood, Peer, peer_stream, peers_of
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio

Operation = Callable[[], Awaitable[object]]


async def test_a_reader_that_always_has_data() -> None:
    """While one task reads what is buffered in single bytes, 50 connections are served and a timer fires."""
    size, read, fired = 1 << 20, 0, []

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(await reader.readline())

    async with bridgeio.serve(echo, "127.0.0.1") as server, peer_stream(limit=size) as (reader, _, peer):

        async def be_greedy() -> None:
            nonlocal read
            while await reader.read(1):
                read += 1

        await _buffer(reader, peer, size)
        async with bridgeio.create_task_group() as group:
            group.start_soon(be_greedy)
            current_host().call_at(bridgeio.current_time() + 0.001, lambda: fired.append(read))
            with peers_of(server.addresses[0], 50) as others:
                for other in others:
                    other.send(b"hello\n")
                for other in others:
                    assert await other.receive_all() == b"hello\n"
            await until(lambda: fired)
            assert read < size
            group.cancel_scope.cancel()


async def test_a_peer_that_never_stops_sending() -> None:
    """While one client floods the server, 50 others are served."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        while data := await reader.read(1024):
            if len(data) < 100:
                writer.write(data)
                await writer.drain()

    async with bridgeio.serve(handler, "127.0.0.1", grace=0) as server:
        with Flood(server.addresses[0]) as flood:
            await until(lambda: flood.sent > 1 << 20)
            with peers_of(server.addresses[0], 50) as others:
                for turn in range(3):
                    for other in others:
                        other.send(b"hello %d\n" % turn)
                    for other in others:
                        assert await other.receive(8) == b"hello %d\n" % turn
            before = flood.sent
            await until(lambda: flood.sent > before)


ENOUGH = 20_000  # operations; nobody gets to their end
LINES = 50_000  # of one byte, which the kernel keeps until they are read: more than there are operations


@asynccontextmanager
async def _streams() -> AsyncIterator[dict[str, Operation]]:
    async with peer_stream() as (reader, writer, peer), peer_stream() as (_, closed, _):
        closed.close()
        await closed.wait_closed()
        await peer.send_all(b"\n" * LINES)
        await reader.readuntil()  # which buffers more than that
        yield {
            "read": partial(reader.read, 1),
            "readexactly": partial(reader.readexactly, 1),
            "readinto": partial(reader.readinto, bytearray(1)),
            "readuntil": reader.readuntil,
            "discard_until": reader.discard_until,
            "drain": writer.drain,
            "wait_closed": closed.wait_closed,
        }


@asynccontextmanager
async def _objects() -> AsyncIterator[dict[str, Operation]]:
    event, queue = bridgeio.Event(), bridgeio.Queue[int]()
    event.set()
    send, receive = bridgeio.create_memory_object_stream[int](1)
    endless = bridgeio.Queue[int]()
    endless_send, endless_receive = bridgeio.create_memory_object_stream[int](inf)
    for number in range(2 * ENOUGH):
        endless.put_nowait(number)
        endless_send.send_nowait(number)

    async def through_a_queue() -> None:
        await queue.put(1)
        await queue.get()

    async def through_a_stream() -> None:
        await send.send(1)
        await receive.receive()

    def block(context: AbstractAsyncContextManager[object]) -> Operation:
        async def enter_and_leave() -> None:
            async with context:
                pass

        return enter_and_leave

    async def group() -> None:
        async with bridgeio.create_task_group():
            pass

    with send, receive, endless_send, endless_receive:
        yield {
            "checkpoint": bridgeio.lowlevel.checkpoint,
            "sleep": partial(bridgeio.sleep, 0),
            "Event": event.wait,
            "put": partial(endless.put, 0),
            "get": endless.get,
            "put and get": through_a_queue,
            "join": queue.join,
            "send": partial(endless_send.send, 0),
            "receive": endless_receive.receive,
            "send and receive": through_a_stream,
            "Lock": block(bridgeio.Lock()),
            "Condition": block(bridgeio.Condition()),
            "Semaphore": block(bridgeio.Semaphore(1)),
            "CapacityLimiter": block(bridgeio.CapacityLimiter(1)),
            "Barrier": bridgeio.Barrier(1).wait,
            "group": group,
        }


OF_STREAMS = ["read", "readexactly", "readinto", "readuntil", "discard_until", "drain", "wait_closed"]
OF_OBJECTS = ["checkpoint", "sleep", "Event", "Lock", "Condition", "Semaphore", "CapacityLimiter", "Barrier", "group"]
OF_OBJECTS += ["put", "get", "put and get", "join", "send", "receive", "send and receive"]


@pytest.mark.parametrize("name", OF_STREAMS + OF_OBJECTS)
async def test_a_task_that_never_has_to_wait(name: str) -> None:
    """A loop over operations that can always go on gives way: a second task and a timer get their turn."""
    done, seen = 0, list[int]()

    async with _streams() if name in OF_STREAMS else _objects() as operations:
        operate = operations[name]

        async def be_greedy() -> None:
            nonlocal done
            while done < ENOUGH:
                await operate()
                done += 1

        async def be_modest() -> None:
            for _ in range(10):
                await bridgeio.sleep(0)
            seen.append(done)

        async with bridgeio.create_task_group() as group:
            group.start_soon(be_greedy)
            group.start_soon(be_modest)
            current_host().call_at(bridgeio.current_time(), lambda: seen.append(done))
            await until(lambda: len(seen) == 2)
            group.cancel_scope.cancel()
    assert max(seen) < ENOUGH


async def test_accepting_does_not_starve_handlers() -> None:
    """While hundreds of connections wait to be accepted, those already there are served."""
    served_after: list[int] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        served_after.append(bridgeio.current_server().connections)
        await reader.read()

    async with bridgeio.serve(handler, "127.0.0.1", grace=0) as server:
        with peers_of(server.addresses[0], 300):
            await until(lambda: len(served_after) == 300)
            assert served_after[0] < 300


async def _buffer(reader: bridgeio.Reader, peer: Peer, size: int) -> None:
    """Has the reader buffer so many bytes, by looking for a line's end that does not come."""
    reader.limit = size - 1
    async with bridgeio.create_task_group() as group:
        group.start_soon(peer.send_all, bytes(size))
        with pytest.raises(bridgeio.LimitOverrunError):
            await reader.readuntil(b"\n")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
