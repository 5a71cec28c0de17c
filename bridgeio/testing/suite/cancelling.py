"""Chapter: cancelling. A cancel at every await of a stream operation leaves nothing lost and nothing open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.poller import READ, URGENT
from bridgeio.testing.peers import is_over, peer_stream, peers_of
from bridgeio.testing.resources import unchanged, until

pytestmark = pytest.mark.bridgeio

Read = Callable[[bridgeio.Reader], Awaitable[Any]]

# How to read the message "0123456789;" with each operation of a Reader.
READS: dict[str, Read] = {
    "read": lambda reader: reader.read(),
    "readuntil": lambda reader: reader.readuntil(b";"),
    "readexactly": lambda reader: reader.readexactly(11),
}
MESSAGE = b"0123456789;"


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("sent", [0, 1, 5, 10])
@pytest.mark.bridgeio_promise(2)
async def test_a_cancelled_read_has_taken_nothing(name: str, sent: int) -> None:
    """Whatever part of a message had come, the next read gets the message whole."""
    async with peer_stream() as (reader, _, peer):
        peer.send(MESSAGE[:sent])
        with bridgeio.move_on_after(0.01) as scope:
            await READS[name](reader)
        assert scope.cancelled_caught
        peer.send(MESSAGE[sent:])
        peer.half_close()
        assert await READS[name](reader) == MESSAGE


async def test_a_cancelled_single_read_has_taken_nothing() -> None:
    """``read(n)`` and ``readinto`` too: bytes that come after the cancel belong to the next read."""
    async with peer_stream() as (reader, _, peer):
        with bridgeio.move_on_after(0.005):
            await reader.read(10)
        target = bytearray(10)
        with bridgeio.move_on_after(0.005):
            await reader.readinto(target)
        peer.send(MESSAGE)
        assert await reader.readexactly(11) == MESSAGE
        assert target == bytes(10)


async def test_a_cancelled_discard_goes_on_where_it_was() -> None:
    """``discard_until`` may be called again: nothing behind the separator is skipped."""
    async with peer_stream(limit=10) as (reader, _, peer):
        peer.send(b"a" * 1000)
        with bridgeio.move_on_after(0.01):
            await reader.discard_until(b"\r\n")
        peer.send(b"a" * 1000 + b"\r\nnext\n")
        await reader.discard_until(b"\r\n")
        assert await reader.readline() == b"next\n"


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
async def test_bytes_and_cancel_at_once(turns: int) -> None:
    """When bytes and a cancel meet, the read gives the bytes, or they are there for the next one."""
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        got: list[bytes] = []
        scope = bridgeio.CancelScope()

        async def read() -> None:
            with scope:
                got.append(await reader.readline())

        group.start_soon(read)
        await until(lambda: reader._reading)
        peer.send(b"line\n")
        for _ in range(turns):
            await bridgeio.sleep(0)
        scope.cancel()
        await until(lambda: not reader._reading)
        if not got:
            got.append(await reader.readline())
        assert got == [b"line\n"]


@pytest.mark.parametrize("what", [b"half a li", b""])
async def test_a_cancel_between_a_wake_up_and_its_step(what: bytes) -> None:
    """A read that is woken for too little, and cancelled before it runs, ends; it does not wait again unheard."""
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        scope = bridgeio.CancelScope()

        async def read() -> None:
            with scope:
                await reader.readline()

        group.start_soon(read)
        await until(lambda: reader._reading)
        peer.send(what) if what else peer.send_urgent()
        source: Any = reader._source
        source.on_event(READ if what else URGENT)
        scope.cancel()
        await until(lambda: not reader._reading)
        assert scope.cancelled_caught
        peer.send(b"a line\n")
        assert await reader.readline() == what + b"a line\n"


async def test_a_cancel_between_a_wake_up_and_the_next_wait_for_closing() -> None:
    """The same for a writer: who waits for its end, is woken too early and cancelled then, is not forgotten."""
    async with peer_stream() as (_, writer, _peer), bridgeio.create_task_group() as group:
        scope = bridgeio.CancelScope()

        async def wait() -> None:
            with scope:
                await writer.wait_closed()

        writer.write(bytes(5 << 20))
        writer.close()
        group.start_soon(wait)
        await until(lambda: writer._drainers)
        writer._drainers.wake_all()
        scope.cancel()
        await until(lambda: scope.cancelled_caught)
        writer.abort()


async def test_a_drain_that_is_being_woken_cannot_be_taken_back() -> None:
    """Who asks for that is told so, by no error: a coroutine that is closed by then would die of it."""
    async with peer_stream() as (_, writer, _peer), bridgeio.create_task_group() as group:
        writer.write(bytes(5 << 20))
        group.start_soon(writer.drain)
        await until(lambda: writer._drainers)
        take_back = writer._drainers.tasks[0].abort
        assert take_back is not None
        writer._drainers.wake_all()
        assert not take_back()
        group.cancel_scope.cancel()


@pytest.mark.bridgeio_promise(2)
async def test_a_stream_read_under_constant_cancels() -> None:
    """A reader that is cancelled every other moment gets every byte of a long stream, once and in order."""
    numbers = b"".join(b"%d\n" % number for number in range(20_000))
    received, cancelled = [], 0
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:

        async def trickle() -> None:
            for start in range(0, len(numbers), 1000):
                peer.send(numbers[start : start + 1000])
                await bridgeio.sleep(0.0002)
            peer.half_close()

        group.start_soon(trickle)
        while not reader.at_eof():
            with bridgeio.move_on_after(0.0001) as scope:
                while line := await reader.readline():
                    received.append(line)
            cancelled += scope.cancelled_caught
    assert b"".join(received) == numbers
    assert cancelled > 0


@pytest.mark.parametrize("name", [*READS, "read(1)", "readinto", "discard_until", "async for"])
@pytest.mark.bridgeio_promise(1)
async def test_a_cancelled_task_takes_nothing(name: str) -> None:
    """In a cancelled scope each read raises before it takes anything, though it need not wait."""
    others: dict[str, Read] = {
        "read(1)": lambda reader: reader.read(1),
        "readinto": lambda reader: reader.readinto(bytearray(1)),
        "discard_until": lambda reader: reader.discard_until(b";"),
        "async for": lambda reader: reader.__anext__(),
    }
    async with peer_stream() as (reader, _, peer):
        peer.send(b"first\n" + MESSAGE)
        assert await reader.readline() == b"first\n"
        for _ in range(2):
            with bridgeio.CancelScope() as scope:
                scope.cancel()
                await (READS | others)[name](reader)
            assert scope.cancelled_caught
        assert await reader.readexactly(11) == MESSAGE


@pytest.mark.bridgeio_bug("inconsistent-stream")
async def test_a_cancelled_drain_takes_nothing_back() -> None:
    """What was written goes out though the ``drain`` after it was cancelled, before or while it waited."""
    async with peer_stream() as (_, writer, peer):
        writer.write(bytes(3 << 20))
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await writer.drain()
        assert scope.cancelled_caught
        with bridgeio.move_on_after(0.005) as scope:
            await writer.drain()
        assert scope.cancelled_caught
        writer.write_eof()
        assert await peer.receive_all() == bytes(3 << 20)


async def test_a_cancelled_wait_closed_goes_on_in_the_background() -> None:
    """A writer that was closed flushes and closes, though nobody waits for it any more."""
    async with unchanged(), peer_stream() as (_, writer, peer):
        writer.write(bytes(3 << 20))
        writer.close()
        with bridgeio.move_on_after(0.005) as scope:
            await writer.wait_closed()
        assert scope.cancelled_caught
        assert await peer.receive_all() == bytes(3 << 20)
        await writer.wait_closed()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("inconsistent-stream")
async def test_a_cancelled_server_loses_no_connection() -> None:
    """Tasks that accept are cancelled at any moment: each connection is served, or is still in the kernel's queue."""
    served = 0

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        nonlocal served
        served += 1

    for turns in range(6):
        served = 0
        async with bridgeio.serve(handler, "127.0.0.1") as server:
            with peers_of(server.addresses[0], 10) as peers:
                for _ in range(turns):
                    await bridgeio.sleep(0)
                await server.close()
                assert served == 10
                assert [await peer.receive_all() for peer in peers] == [b""] * 10


@pytest.mark.bridgeio_promise(10)
async def test_a_handler_is_cancelled_wherever_it_waits() -> None:
    """Handlers in a read, a drain and a sleep all end when the server cancels them, and nothing is left open."""
    waiting = 0

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        nonlocal waiting
        where = await reader.readline()
        waiting += 1
        if where == b"read\n":
            await reader.read()
        elif where == b"drain\n":
            writer.write(bytes(5 << 20))
            writer.linger = 0.01
            await writer.drain()
        else:
            await bridgeio.sleep_forever()

    async with unchanged(), bridgeio.serve(handler, "127.0.0.1") as server:
        with peers_of(server.addresses[0], 3) as peers:
            for peer, where in zip(peers, (b"read\n", b"drain\n", b"sleep\n"), strict=True):
                peer.send(where)
            await until(lambda: waiting == 3)
            report = await server.close(grace=0)
            assert report.cancelled == 3
            assert [await is_over(peer) for peer in peers] == [True] * 3


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
