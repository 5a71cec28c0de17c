"""`bridgeio.wrap` over streams of each framework's own: what a Reader and a Writer promise holds there, too."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.neighbours import soon
from bridgeio.testing.peers import Peer, is_over
from bridgeio.testing.pulling import memory_pair
from native_streams import KINDS, backend_of, native_stream, on_each_kind, present, wrapped

MEGABYTE = 1 << 20
MUCH = 20 * MEGABYTE
PATTERN = bytes(range(256)) * 4096

HAS_NO_SOCKET = {"trio.abc.Stream"}
CANNOT_END_WRITE = {"IOStream", "Twisted ProtocolWrapper"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return present(request.param)


@on_each_kind
async def test_both_ways(kind: str) -> None:
    """Lines in, lines out, many of them; then the peer's end."""
    async with wrapped(kind) as (reader, writer, peer):
        for number in range(50):
            line = b"line %d\n" % number
            peer.send(line)
            assert await reader.readline() == line
            writer.write(line)
            await writer.drain()
            assert await peer.receive(len(line)) == line
        peer.send(b"the end")
        peer.half_close()
        assert await reader.read() == b"the end"
        assert await reader.read(1) == b""
        assert reader.at_eof()


@on_each_kind
async def test_half_close(kind: str) -> None:
    """This side ends its direction behind what it wrote, and goes on reading; where the stream has such a thing."""
    async with wrapped(kind) as (reader, writer, peer):
        writer.write(PATTERN)
        assert writer.can_write_eof() == (kind not in CANNOT_END_WRITE)
        if not writer.can_write_eof():
            with pytest.raises(OSError, match="one direction alone"):
                writer.write_eof()
            return
        writer.write_eof()
        assert await peer.receive_all() == PATTERN
        peer.send(b"still here\n")
        assert await reader.readline() == b"still here\n"


@on_each_kind
async def test_writing_after_the_peers_half_close(kind: str) -> None:
    """A peer that has ended its direction still gets everything; where the stream has such a thing."""
    if kind in CANNOT_END_WRITE:
        pytest.skip("a stream that ends as a whole")
    async with wrapped(kind) as (reader, writer, peer):
        peer.half_close()
        assert await reader.read() == b""
        writer.write(PATTERN * 8)
        writer.close()
        assert await peer.receive_all() == PATTERN * 8
        await writer.wait_closed()


@on_each_kind
async def test_a_reset(kind: str) -> None:
    """A peer that vanishes is a ConnectionResetError for the reader, and an error for the writer soon after."""
    async with wrapped(kind) as (reader, writer, peer):
        peer.send(b"last\n")
        assert await reader.readline() == b"last\n"
        peer.reset()
        for _ in range(2):
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await _writes_until_it_fails(writer)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await writer.drain()
        writer.close()
        await writer.wait_closed()


@on_each_kind
async def test_a_reset_while_flushing(kind: str) -> None:
    """A task that drains hears of it."""
    async with wrapped(kind) as (_, writer, peer):
        writer.write(bytes(MUCH))
        async with bridgeio.create_task_group() as group:
            group.start_soon(_fails_to_drain, writer)
            await soon(lambda: writer._drainers)
            peer.reset()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            writer.write(b"more")


@on_each_kind
async def test_closing_flushes(kind: str) -> None:
    """Everything arrives, then the end; ``wait_closed`` comes back when the descriptor is closed."""
    async with wrapped(kind) as (_, writer, peer):
        sock = writer.get_extra_info("socket")
        writer.write(PATTERN * 8)
        writer.close()
        async with bridgeio.create_task_group() as group:
            group.start_soon(_expects, peer, PATTERN * 8)
            await writer.wait_closed()
        assert kind in HAS_NO_SOCKET or sock.fileno() == -1
        with pytest.raises(bridgeio.StreamClosedError):
            writer.write(b"more")


@on_each_kind
async def test_lingering(kind: str) -> None:
    """A peer that takes nothing is left after ``linger`` seconds, and who waits for the end hears of that."""
    async with wrapped(kind) as (_, writer, _):
        writer.linger = 0.05
        writer.write(bytes(MUCH))
        writer.close()
        with pytest.raises(ConnectionAbortedError, match="linger"):
            await writer.wait_closed()


@on_each_kind
async def test_aborting(kind: str) -> None:
    """The peer sees a reset where the stream has one, and whoever waits gets StreamClosedError."""
    async with wrapped(kind) as (reader, writer, peer):
        writer.write(bytes(MUCH))
        async with bridgeio.create_task_group() as group:
            group.start_soon(_read_fails_closed, reader)
            group.start_soon(_drain_fails_closed, writer)
            await soon(lambda: writer._drainers)
            await bridgeio.sleep(0)
            writer.abort()
        try:
            received = len(await peer.receive_all())
        except ConnectionResetError:
            return
        assert received < MUCH


@on_each_kind
async def test_closing_ends_a_read(kind: str) -> None:
    """A read that waits while another task closes raises StreamClosedError."""
    async with wrapped(kind) as (reader, writer, peer):
        async with bridgeio.create_task_group() as group:
            group.start_soon(_read_fails_closed, reader)
            await bridgeio.sleep(0.001)
            writer.close()
            await writer.wait_closed()
        assert await peer.receive_all() == b""


@on_each_kind
async def test_one_reader(kind: str) -> None:
    """A second one gets BusyError, and the first is not disturbed."""
    async with wrapped(kind) as (reader, _, peer):
        got: list[bytes] = []

        async def first() -> None:
            got.append(await reader.readline())

        async with bridgeio.create_task_group() as group:
            group.start_soon(first)
            await soon(lambda: reader._reading)
            with pytest.raises(bridgeio.BusyError):
                await reader.read(1)
            peer.send(b"line\n")
        assert got == [b"line\n"]


@on_each_kind
async def test_a_cancelled_read_takes_nothing(kind: str) -> None:
    """Neither at a deadline nor when the bytes come in the same moment; the next read has them."""
    async with wrapped(kind) as (reader, _, peer):
        with bridgeio.move_on_after(0.001):
            await reader.readline()
        for number in range(20):
            async with bridgeio.create_task_group() as group:
                group.start_soon(reader.readuntil, b"never")
                await bridgeio.sleep(0)
                peer.send(b"%d\n" % number)
                await bridgeio.sleep(0.0005 * (number % 3))
                group.cancel_scope.cancel()
        assert await reader.readexactly(50) == b"".join(b"%d\n" % number for number in range(20))


@on_each_kind
async def test_what_is_behind_a_writer(kind: str) -> None:
    """The native object, its socket and the addresses."""
    async with native_stream(kind) as (native, peer):
        _, writer = bridgeio.wrap(native)
        answers = [writer.get_extra_info(name) for name in ("peername", "sockname", "socket")]
        if kind in HAS_NO_SOCKET:
            assert answers == [None] * 3
        else:
            assert answers[:2] == [peer.sock.getsockname(), peer.sock.getpeername()]
            assert answers[2].fileno() >= 0
        carried = kind not in {"trio.SocketStream", "gevent socket"}
        assert writer.get_extra_info("native") is (native if carried else writer.get_extra_info("socket"))
        assert writer.get_extra_info("nothing", 3) == 3
        writer.abort()


def test_the_end_of_a_run_flushes(kind: str) -> None:
    """What was written to a writer that was closed arrives; one that nobody has closed is closed."""
    peers: list[Peer] = []

    async def main() -> None:
        for closes in (True, False):
            async with native_stream(kind) as (native, peer):
                peers.append(Peer(peer.sock.dup()))
                _, writer = bridgeio.wrap(native)
                writer.write(b"written")
                if closes:
                    writer.close()
                else:
                    peers[-1].keep = native  # type: ignore[attr-defined]

    bridgeio.run(main, backend=backend_of(kind))
    with peers[0], peers[1]:
        assert peers[0].sock.recv(100) == b"written"
        assert peers[0].sock.recv(100) == b""
        assert _all_of(peers[1]) in {b"", b"written"}


@pytest.mark.parametrize("other", ["trio", "tornado", "twisted"])
def test_a_stream_of_another_framework(other: str) -> None:
    """Is refused by its name, and with what can be wrapped here."""
    pytest.importorskip(other)

    async def main() -> None:
        with pytest.raises(TypeError, match=rf"is {other}'s, while this code runs on asyncio.*StreamReader"):
            bridgeio.wrap(_stream_of(other))

    bridgeio.run(main, backend="asyncio")


def _stream_of(framework: str) -> Any:
    if framework == "trio":
        from trio.testing import memory_stream_pair

        return memory_stream_pair()[0]
    if framework == "tornado":
        from tornado.iostream import PipeIOStream

        return PipeIOStream.__new__(PipeIOStream)
    from twisted.internet.testing import StringTransport

    return StringTransport()  # type: ignore[no-untyped-call]


async def _writes_until_it_fails(writer: bridgeio.Writer) -> None:
    while True:
        writer.write(b"into the void")
        await bridgeio.sleep(0)


async def _fails_to_drain(writer: bridgeio.Writer) -> None:
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await writer.drain()


async def _read_fails_closed(reader: bridgeio.Reader) -> None:
    with pytest.raises(bridgeio.StreamClosedError):
        await reader.read(1)


async def _drain_fails_closed(writer: bridgeio.Writer) -> None:
    with pytest.raises(bridgeio.StreamClosedError):
        await writer.drain()


async def _expects(peer: Peer, data: bytes) -> None:
    assert await peer.receive_all() == data


def _all_of(peer: Peer) -> bytes:
    received = b""
    try:
        while data := peer.sock.recv(100):
            received += data
    except ConnectionResetError:
        pass
    return received


# What is peculiar


def test_wrapping_outside_any_framework() -> None:
    """Nobody is there to carry it."""
    with pytest.raises(bridgeio.NoBackendError):
        bridgeio.wrap(memory_pair()[0])


def test_a_stream_that_somebody_is_reading() -> None:
    """Is a BusyError, on asyncio and on Tornado, and he goes on as before."""

    async def main(kind: str, read: Callable[[Any], Awaitable[bytes]]) -> None:
        async with native_stream(kind) as (native, peer):
            reading = asyncio.ensure_future(read(native))
            await asyncio.sleep(0)
            with pytest.raises(bridgeio.BusyError):
                bridgeio.wrap(native)
            peer.send(b"line\n")
            assert await reading == b"line\n"
            await _close_natively(native)

    bridgeio.run(main, "asyncio pair", lambda pair: pair[0].readline())
    if "tornado" in bridgeio.available_backends():
        bridgeio.run(main, "IOStream", lambda stream: stream.read_until(b"\n"), backend="tornado")


@pytest.mark.parametrize("backend", ["asyncio", "uvloop"])
def test_a_pair_of_two_transports(backend: str) -> None:
    """As the pipes of a process are: nothing of what the reader gets would come. They are left as they were."""
    if backend not in bridgeio.available_backends():
        pytest.skip(f"{backend} is not installed")

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with pytest.raises(TypeError, match="belong to different transports"):
            bridgeio.wrap((process.stdout, process.stdin))
        assert (await process.communicate(b"said"))[0] == b"said"

    bridgeio.run(main, backend=backend)


def test_a_transport_that_somebody_produces_for() -> None:
    """Two producers cannot be asked to pause: a BusyError, and the first stays."""
    twisted = pytest.importorskip("twisted.internet.interfaces")
    from zope.interface import implementer  # type: ignore[import-untyped]

    @implementer(twisted.IPushProducer)
    class Producer:
        def stopProducing(self) -> None:
            stopped.append(True)

    stopped: list[bool] = []

    async def main() -> None:
        async with native_stream("Twisted transport") as (transport, peer):
            transport.registerProducer(Producer(), True)
            with pytest.raises(bridgeio.BusyError):
                bridgeio.wrap(transport)
            transport.abortConnection()
            assert await is_over(peer)
            await soon(lambda: stopped)

    bridgeio.run(main, backend="twisted")


def test_a_stream_that_is_over() -> None:
    """What its buffer still has is read, then comes the end; writing is an error."""

    async def pair() -> None:
        async with native_stream("asyncio pair") as ((reader, writer), peer):
            peer.send(b"last\n")
            peer.half_close()
            await soon(lambda: reader._eof)
            writer.transport.abort()
            await asyncio.sleep(0)
            await _is_read_to_its_end((reader, writer))

    async def iostream() -> None:
        async with native_stream("IOStream") as (stream, peer):
            peer.send(b"first\nlast\n")
            peer.half_close()
            assert await stream.read_until(b"\n") == b"first\n"
            await _is_read_to_its_end(stream)

    async def transport() -> None:
        async with native_stream("Twisted transport") as (native, _):
            native.abortConnection()
            await soon(lambda: native.disconnected)
            await _is_read_to_its_end(native, b"")

    bridgeio.run(pair)
    if "tornado" in bridgeio.available_backends():
        bridgeio.run(iostream, backend="tornado")
    if "twisted" in bridgeio.available_backends():
        bridgeio.run(transport, backend="twisted")


async def _is_read_to_its_end(native: Any, last: bytes = b"last\n") -> None:
    reader, writer = bridgeio.wrap(native)
    assert await reader.read() == last
    with pytest.raises(OSError, match="roken"):
        writer.write(b"more")
    writer.close()
    await writer.wait_closed()


def test_the_owner_of_a_pair_may_wait_for_its_end() -> None:
    """asyncio's own ``wait_closed`` comes back when our writer has closed the transport."""

    async def main() -> None:
        async with native_stream("asyncio pair") as (pair, _):
            _, writer = bridgeio.wrap(pair)
            async with bridgeio.create_task_group() as group:
                group.start_soon(pair[1].wait_closed)
                await bridgeio.sleep(0)
                writer.close()

    bridgeio.run(main)


def test_a_pair_that_nobody_keeps() -> None:
    """A StreamWriter that is collected closes its transport: it is kept as long as the stream is used."""

    async def main() -> None:
        async with native_stream("asyncio pair") as (pair, peer):
            reader, writer = bridgeio.wrap(pair)
            del pair
            gc.collect()
            peer.send(b"line\n")
            assert await reader.readline() == b"line\n"
            writer.abort()

    bridgeio.run(main)


def test_a_loop_of_anothers_ends_what_is_wrapped() -> None:
    """``asyncio.run`` cancels the tasks that send for a wrapped object; they close it, and nothing is left."""
    near, _ = memory_pair(pieces=1)

    async def main() -> None:
        _, writer = bridgeio.wrap(near)
        for _ in range(4):
            writer.write(b"piece")
        writer.close()
        await asyncio.sleep(0)

    asyncio.run(main())
    gc.collect()
    assert near.closed


async def _close_natively(native: Any) -> None:
    if isinstance(native, tuple):
        native[1].close()
        await native[1].wait_closed()
    else:
        native.close()
