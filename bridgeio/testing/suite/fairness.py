"""Chapter: fairness. One busy connection does not starve the others, nor the host's own timers.

None of these tests looks at a clock: each shows that others get their turn while the greedy one has
still work to do.
"""

from __future__ import annotations

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.peers import Flood, Peer, peer_stream, peers_of
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


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


@pytest.mark.parametrize("operation", ["write", "event", "checkpoint"])
async def test_a_task_that_never_has_to_wait(operation: str) -> None:
    """A loop over operations that can always go on gives way: a second task and a timer get their turn."""
    done, turns, fired = 0, 0, []
    enough = 100_000
    happened = bridgeio.Event()
    happened.set()

    async with peer_stream() as (_, writer, _peer):

        async def operate() -> None:
            if operation == "write":
                writer.write(b"")
                await writer.drain()
            elif operation == "event":
                await happened.wait()
            else:
                await bridgeio.lowlevel.checkpoint()

        async def be_greedy() -> None:
            nonlocal done
            while done < enough:
                await operate()
                done += 1

        async def be_modest() -> None:
            nonlocal turns
            while turns < 10:
                await bridgeio.sleep(0)
                turns += 1

        async with bridgeio.create_task_group() as group:
            group.start_soon(be_greedy)
            group.start_soon(be_modest)
            current_host().call_at(bridgeio.current_time(), lambda: fired.append(done))
            await until(lambda: turns == 10 and fired)
            assert done < enough
            group.cancel_scope.cancel()


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
