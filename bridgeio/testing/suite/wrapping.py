"""Chapter: wrapping. Any object with receive, send and aclose, as AnyIO's byte streams have, is a stream of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.neighbours import soon
from bridgeio.testing.peers import FAMILIES
from bridgeio.testing.pulling import MemoryStream, memory_pair
from bridgeio.testing.resources import unchanged, until

pytestmark = pytest.mark.bridgeio

MEGABYTE = 1 << 20
PIECE = bytes(range(256)) * 16

_EACH_FAMILY = pytest.mark.parametrize("family", FAMILIES)


async def test_a_wrapped_object_speaks_both_ways() -> None:
    """As a socket does, with AnyIO's methods."""
    near, far = memory_pair()
    await far.send(b"before\n")
    reader, writer = bridgeio.wrap(near)
    await far.send(b"after\nand ")
    await far.send(b"more\n")
    assert [line async for line in _lines(reader, 3)] == [b"before\n", b"after\n", b"and more\n"]
    writer.write(b"hello")
    assert writer.can_write_eof()
    writer.write_eof()
    assert await _received(far) == b"hello"
    await far.send(b"goodbye")
    await far.aclose()
    assert await reader.read() == b"goodbye"
    async with writer:
        assert writer.get_extra_info("native") is near
        assert writer.get_extra_info("socket") is None
    assert near.closed


async def test_closing_a_wrapped_object_flushes() -> None:
    """``wait_closed`` comes back when the object has sent everything and is closed, however slow its peer is."""
    near, far = memory_pair(pieces=1)
    _, writer = bridgeio.wrap(near)
    writer.write(PIECE * 256)
    writer.close()
    async with bridgeio.create_task_group() as group:
        got: list[bytes] = []
        group.start_soon(_collect, far, got)
        await writer.wait_closed()
        assert near.closed
    assert b"".join(got) == PIECE * 256


async def test_closing_waits_for_what_a_wrapped_object_holds() -> None:
    """``wait_closed`` does not come back before the object is closed, though the writer holds nothing any more."""
    near, far = memory_pair(pieces=1)
    _, writer = bridgeio.wrap(near)
    writer.write(b"one ")
    writer.write(b"two")
    writer.close()
    assert writer.get_write_buffer_size() == 0
    closed = bridgeio.Event()

    async def wait() -> None:
        await writer.wait_closed()
        assert near.closed
        closed.set()

    async with bridgeio.create_task_group() as group:
        group.start_soon(wait)
        for _ in range(20):
            await bridgeio.sleep(0)
        assert not closed.is_set()
        assert await _received(far) == b"one two"


@pytest.mark.parametrize("aborts", [True, False], ids=["abort", "linger"])
async def test_a_wrapped_object_that_takes_long_to_close(aborts: bool) -> None:
    """An ``aclose`` that waits for a peer is cancelled, by an abort and when ``linger`` is over."""
    near, far = memory_pair(pieces=1)
    _, writer = bridgeio.wrap(near)
    writer.linger = 0.01
    writer.write(b"piece")
    await until(near._outgoing.full)
    if aborts:
        writer.abort()
        await writer.wait_closed()
    else:
        writer.close()
        with pytest.raises(ConnectionAbortedError, match="linger"):
            await writer.wait_closed()
    assert near.closed
    with pytest.raises(bridgeio.BrokenResourceError):
        await far.receive()


async def test_a_wrapped_object_without_send_eof() -> None:
    """Its two directions cannot be ended apart, and the writer says so."""
    near, _ = memory_pair()
    _, writer = bridgeio.wrap(_Plain(near))
    assert not writer.can_write_eof()
    with pytest.raises(OSError, match="one direction alone"):
        writer.write_eof()
    writer.abort()


async def test_backpressure_of_a_wrapped_object() -> None:
    """``drain`` waits for the object's peer, and what is ahead of it is bounded."""
    near, far = memory_pair()
    _, writer = bridgeio.wrap(near)
    writer.write(bytes(MEGABYTE))
    drained = bridgeio.Event()

    async def drain() -> None:
        await writer.drain()
        drained.set()

    async with bridgeio.create_task_group() as group:
        group.start_soon(drain)
        for _ in range(20):
            await bridgeio.sleep(0)
        assert not drained.is_set()
        taken = 0
        while taken < MEGABYTE:
            taken += len(await far.receive())
    assert drained.is_set()
    writer.abort()


async def test_a_wrapped_object_is_asked_when_somebody_reads() -> None:
    """Nothing is received ahead of a reader, so a flood stops in the object."""
    near, far = memory_pair()
    reader, writer = bridgeio.wrap(near)
    for _ in range(4):
        await far.send(PIECE)
    for _ in range(20):
        await bridgeio.sleep(0)
    with bridgeio.move_on_after(0) as scope:
        await far.send(PIECE)
    assert scope.cancelled_caught
    assert await reader.readexactly(4 * len(PIECE)) == PIECE * 4
    writer.abort()


async def test_a_wrapped_object_that_nobody_reads_keeps_no_task() -> None:
    """What receives for a reader ends when the reader has what it wanted, whether or not the stream is closed."""
    near, far = memory_pair()
    reader, writer = bridgeio.wrap(near)
    async with unchanged():
        for number in range(20):
            await far.send(b"%d\n" % number)
            assert await reader.readline() == b"%d\n" % number
    writer.abort()


async def test_a_cancelled_read_of_a_wrapped_object_takes_nothing() -> None:
    """Whatever the object does when it is cancelled: what its receive brings is there for the next read."""
    near, far = memory_pair()
    reader, writer = bridgeio.wrap(_Forgetful(near))
    with bridgeio.move_on_after(0.001):
        await reader.read(10)
    await far.send(b"kept")
    assert await reader.read(10) == b"kept"
    writer.abort()


async def test_a_wrapped_object_has_one_reader() -> None:
    """A second one gets BusyError, the first is not disturbed."""
    near, far = memory_pair()
    reader, writer = bridgeio.wrap(near)
    async with bridgeio.create_task_group() as group:
        got: list[bytes] = []

        async def first() -> None:
            got.append(await reader.readline())

        group.start_soon(first)
        await soon(lambda: near._incoming.statistics().tasks_waiting_get == 1)
        with pytest.raises(bridgeio.BusyError):
            await reader.read(1)
        await far.send(b"line\n")
    assert got == [b"line\n"]
    writer.abort()


async def test_a_wrapped_object_breaks() -> None:
    """What it raises comes out as a socket's errors do, again and again, from reads and from writes."""
    near, far = memory_pair()
    reader, writer = bridgeio.wrap(near)
    far.break_off()
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
    with pytest.raises(ConnectionResetError):
        await _writes_until_it_fails(writer)
    with pytest.raises(ConnectionResetError):
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert near.closed


async def test_a_wrapped_object_fails() -> None:
    """An error of the object's own is the cause of a ConnectionAbortedError."""
    near, _ = memory_pair()
    reader, writer = bridgeio.wrap(_Failing(near))
    with pytest.raises(ConnectionAbortedError, match="out of order") as caught:
        await reader.read(1)
    causes = [caught.value.__cause__, caught.value.__cause__ and caught.value.__cause__.__cause__]
    assert any(isinstance(cause, LookupError) for cause in causes)
    writer.abort()


@pytest.mark.parametrize("item", ["text", 5, None])
async def test_a_wrapped_object_that_carries_no_bytes(item: object) -> None:
    """What is received is an error that shows it, and not null bytes, nor a wait without end."""

    async def receive() -> Any:
        return item

    near, _ = memory_pair()
    odd = _Plain(near)
    odd.receive = receive
    reader, writer = bridgeio.wrap(odd)
    with pytest.raises(ConnectionAbortedError, match=f"not {item!r}"):
        await reader.read(1)
    writer.abort()


async def test_aborting_a_wrapped_object() -> None:
    """It is closed without ceremony, and a read and a drain that wait raise."""
    near, far = memory_pair()
    reader, writer = bridgeio.wrap(near)
    writer.write(bytes(MEGABYTE))
    async with bridgeio.create_task_group() as group:
        group.start_soon(_fails_closed, reader)
        group.start_soon(_drain_fails_closed, writer)
        await soon(lambda: near._incoming.statistics().tasks_waiting_get == 1)
        writer.abort()
    await until(lambda: near.closed)
    with pytest.raises(bridgeio.BrokenResourceError):
        await _received(far)


async def test_the_linger_of_a_wrapped_object() -> None:
    """A peer that takes nothing costs ``linger`` seconds; who waits for the end hears that bytes were lost."""
    near, _ = memory_pair()
    _, writer = bridgeio.wrap(near)
    writer.linger = 0.01
    writer.write(bytes(MEGABYTE))
    writer.close()
    with pytest.raises(ConnectionAbortedError, match="linger"):
        await writer.wait_closed()
    assert near.closed


async def test_the_linger_counts_what_the_object_holds() -> None:
    """Also when the writer itself has handed everything over."""
    near, _ = memory_pair(pieces=1)
    _, writer = bridgeio.wrap(near)
    writer.linger = 0.01
    for _ in range(4):
        writer.write(b"piece")
    writer.close()
    with pytest.raises(ConnectionAbortedError, match="linger"):
        await writer.wait_closed()


def test_the_end_of_a_run_closes_what_is_wrapped(backend: str) -> None:
    """Also where a read was cancelled in the middle, and nobody has closed the writer."""
    near, _ = memory_pair()

    async def main() -> None:
        reader, _ = bridgeio.wrap(near)
        with bridgeio.move_on_after(0.001):
            await reader.read(1)

    bridgeio.run(main, backend=backend)
    assert near.closed


def test_the_end_of_a_run_waits_for_a_wrapped_object(backend: str) -> None:
    """What was written to a writer that was closed arrives, though nobody waited for that."""
    near, far = memory_pair(pieces=1000)

    async def main() -> None:
        _, writer = bridgeio.wrap(near)
        writer.write(PIECE * 100)
        writer.close()

    async def rest() -> bytes:
        return await _received(far)

    bridgeio.run(main, backend=backend)
    assert bridgeio.run(rest, backend=backend) == PIECE * 100


def test_a_wrapped_stream_in_another_run(backend: str) -> None:
    """Is over: its run has ended."""
    near, _ = memory_pair()
    kept: list[bridgeio.Reader] = []

    async def main() -> None:
        kept.append(bridgeio.wrap(near)[0])

    async def later() -> None:
        with pytest.raises(bridgeio.StreamClosedError):
            await kept[0].read(1)

    bridgeio.run(main, backend=backend)
    bridgeio.run(later, backend=backend)


# Serving what another has accepted


async def _shout(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    async for line in reader:
        if line == b"fail\n":
            raise LookupError("as asked")
        writer.write(line.upper())


async def test_serving_a_stream_that_another_has_accepted() -> None:
    """The handler's words arrive, and the stream is closed when it returns."""
    near, far = memory_pair()
    serving = bridgeio.serve_stream(_shout, near)
    await far.send(b"hello\n")
    await far.send_eof()
    await serving
    assert await _received(far) == b"HELLO\n"
    assert near.closed


async def test_a_cancelled_handler_of_an_accepted_stream() -> None:
    """The cancel comes out, and the stream is closed."""
    near, _ = memory_pair()
    with bridgeio.move_on_after(0.001) as scope:
        await bridgeio.serve_stream(_shout, near)
    assert scope.cancelled_caught
    await until(lambda: near.closed)


async def test_serving_a_stream_checks_its_arguments() -> None:
    """As `serve` does, before the stream is taken."""
    near, _ = memory_pair()
    with pytest.raises(TypeError, match="no async function"):
        bridgeio.serve_stream(lambda *_: None, near)  # type: ignore[arg-type,unused-coroutine]


# What the tests share


class _Plain:
    """No more than the three methods."""

    def __init__(self, stream: MemoryStream) -> None:
        self.receive: Callable[[], Awaitable[bytes]] = stream.receive
        self.send = stream.send
        self.aclose = stream.aclose


class _Forgetful(_Plain):
    """A cancel of its ``receive`` loses what comes next."""

    def __init__(self, stream: MemoryStream) -> None:
        super().__init__(stream)
        self.receive = self._forget
        self._stream = stream

    async def _forget(self) -> bytes:
        try:
            return await self._stream.receive()
        except BaseException:
            self._stream.break_off()
            raise


class _Failing(_Plain):
    def __init__(self, stream: MemoryStream) -> None:
        super().__init__(stream)
        self.receive = self._fail

    async def _fail(self) -> bytes:
        raise LookupError("out of order")


async def _received(stream: MemoryStream) -> bytes:
    got: list[bytes] = []
    await _collect(stream, got)
    return b"".join(got)


async def _collect(stream: MemoryStream, got: list[bytes]) -> None:
    while True:
        try:
            got.append(await stream.receive())
        except bridgeio.EndOfStream:
            return


async def _lines(reader: bridgeio.Reader, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield await reader.readline()


async def _fails_closed(reader: bridgeio.Reader) -> None:
    with pytest.raises(bridgeio.StreamClosedError):
        await reader.read(1)


async def _drain_fails_closed(writer: bridgeio.Writer) -> None:
    with pytest.raises(bridgeio.StreamClosedError):
        await writer.drain()


async def _writes_until_it_fails(writer: bridgeio.Writer) -> None:
    while True:
        writer.write(PIECE)
        await bridgeio.sleep(0)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
