"""Chapter: answering. A peer that does not wait for each answer has them sent together, and none is forgotten."""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.peers import Peer, peer_stream
from bridgeio.testing.programs import run_program
from bridgeio.testing.sweeping import Operation, sweep
from bridgeio.testing.tls_peers import encrypted_stream
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

MUCH = bytes(range(256)) * 20_000  # more than the kernel keeps for a peer that does not read

Read = Callable[[bridgeio.Reader], Awaitable[bytes]]

_EACH_READ = pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda reader: reader.readline(), id="readline"),
        pytest.param(lambda reader: reader.readuntil(b"\n"), id="readuntil"),
        pytest.param(lambda reader: reader.readexactly(4), id="readexactly"),
        pytest.param(lambda reader: reader.read(4), id="read"),
    ],
)


@_EACH_READ
async def test_answers_to_what_came_together_go_together(read: Read) -> None:
    """While the reader has more from the peer, an answer waits; the last takes all with it, at once and in order."""
    async with peer_stream(limit=1024) as (reader, writer, peer):
        peer.send(b"one\ntwo\nsix\n")
        assert await reader.readline() == b"one\n"  # so that all has come, whatever reads the rest
        waiting = []
        for answer in (b"1", b"2", b"3"):
            writer.write(answer)
            await writer.drain()
            waiting.append(writer.get_write_buffer_size())
            if answer != b"3":
                await read(reader)
        assert waiting == [1, 2, 0]
        assert peer.sock.recv(100) == b"123"


async def test_what_nobody_has_asked_more_for_goes_at_once() -> None:
    """An answer to all that has come, or to no question at all, is with the kernel when ``write`` returns."""
    async with peer_stream() as (reader, writer, peer):
        writer.write(b"hello\n")
        assert peer.sock.recv(100) == b"hello\n"
        peer.send(b"one\ntwo\n")
        for question in (b"one\n", b"two\n"):
            assert await reader.readline() == question
        writer.write(b"both\n")
        assert peer.sock.recv(100) == b"both\n"


_EACH_WAIT = pytest.mark.parametrize(
    "wait",
    [
        pytest.param(lambda reader: bridgeio.sleep_forever(), id="asleep"),
        pytest.param(lambda reader: bridgeio.Event().wait(), id="for an event"),
        pytest.param(lambda reader: reader.readexactly(100), id="for more than has come"),
    ],
)


@_EACH_WAIT
async def test_an_answer_does_not_wait_for_its_task(wait: Callable[[bridgeio.Reader], Awaitable[object]]) -> None:
    """Whatever the task waits for, with a question unread, what it has written is on its way."""
    async with peer_stream() as (reader, writer, peer), bridgeio.create_task_group() as group:

        async def hear() -> None:
            assert await peer.receive(4) == b"one\n"
            group.cancel_scope.cancel()

        peer.send(b"one\ntwo\n")
        writer.write(await reader.readline())
        assert writer.get_write_buffer_size() == 4
        group.start_soon(hear)
        await wait(reader)


async def test_an_answer_does_not_wait_for_a_thread() -> None:
    """Nor is it kept while the only task waits for another thread, which waits for the answer."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        writer.write(await reader.readline())
        assert writer.get_write_buffer_size() == 4
        assert await bridgeio.to_thread.run_sync(partial(_is_readable, peer.sock)) is True
        assert await peer.receive(4) == b"one\n"


def _is_readable(sock: socket.socket) -> bool:
    poll = original("select", "poll")()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(30_000))


async def test_an_answer_does_not_wait_for_a_busy_task() -> None:
    """Nor for one that never waits, and only gives way: another, with questions unread, has its answers sent."""
    async with peer_stream() as (reader, writer, peer), bridgeio.create_task_group() as group:

        async def keep_busy() -> None:
            while True:
                await bridgeio.sleep(0)

        group.start_soon(keep_busy)
        peer.send(b"one\ntwo\n")
        writer.write(await reader.readline())
        assert await peer.receive(4) == b"one\n"
        group.cancel_scope.cancel()


async def test_what_another_task_says_is_not_kept() -> None:
    """One task reads, and takes its time; what another writes meanwhile goes out, behind what was written before."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        writer.write(await reader.readline())
        async with bridgeio.create_task_group() as group:

            async def say() -> None:
                writer.write(b"news\n")

            group.start_soon(say)
            assert await peer.receive(9) == b"one\nnews\n"


async def test_what_a_callback_writes_is_not_kept() -> None:
    """Code outside any task holds nothing back for longer."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        current_host().call_soon_threadsafe(partial(writer.write, b"news\n"))
        assert await peer.receive(5) == b"news\n"


async def test_answers_of_a_task_that_was_cancelled() -> None:
    """What was written before the cancel is sent."""
    async with peer_stream() as (reader, writer, peer):
        with bridgeio.CancelScope() as scope:
            peer.send(b"one\ntwo\n")
            writer.write(await reader.readline())
            scope.cancel()
            await writer.drain()
        assert scope.cancelled_caught
        assert await peer.receive(4) == b"one\n"


async def test_answers_of_a_handler_that_has_returned() -> None:
    """Closing flushes them, although questions are left."""

    async def answer_once(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(await reader.readline())

    async with bridgeio.serve(answer_once, "127.0.0.1") as server:
        with Peer.connect(("127.0.0.1", server.port)) as peer:
            peer.send(b"one\ntwo\n")
            assert await peer.receive_all() == b"one\n"


@pytest.mark.parametrize("end", [bridgeio.Writer.close, bridgeio.Writer.write_eof])
async def test_answers_before_the_end(end: Callable[[bridgeio.Writer], None]) -> None:
    """Who ends the stream has sent all that was written: it is with the kernel, and then comes the end."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        writer.write(await reader.readline())
        end(writer)
        assert peer.sock.recv(100) == b"one\n"
        assert await peer.receive_all() == b""


async def test_aborting_drops_answers_too() -> None:
    """They were not sent, and that is said."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        writer.write(await reader.readline())
        writer.abort()
        with pytest.raises(bridgeio.StreamClosedError, match="4 bytes unsent"):
            await writer.drain()
        assert writer.get_write_buffer_size() == 0
        assert await peer.sees_reset()


async def test_answers_to_a_peer_that_has_gone() -> None:
    """Nobody was there to be told when they were sent: the next call is."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        peer.reset()
        writer.write(b"one\n")
        assert writer.get_write_buffer_size() == 4
        await bridgeio.sleep(0.001)
        with pytest.raises(ConnectionError):
            await writer.drain()
        writer.close()
        await writer.wait_closed()  # it has been told


async def test_answers_that_are_lost_are_told_at_the_end() -> None:
    """Also if nothing but ``wait_closed`` is left to tell it."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        peer.reset()
        writer.write(b"one\n")
        writer.close()
        with pytest.raises(ConnectionError):
            await writer.wait_closed()


async def test_no_more_is_held_than_drain_lets_wait() -> None:
    """The high-water mark bounds that, too; at zero nothing is held."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"question\nmore\n")
        assert await reader.readline() == b"question\n"
        writer.set_write_buffer_limits(high=10)
        sizes = []
        for _ in range(6):
            writer.write(b"four")
            sizes.append(writer.get_write_buffer_size())
        assert sizes == [4, 8, 0, 4, 8, 0]
        writer.set_write_buffer_limits(high=0)
        writer.write(b"four")
        assert writer.get_write_buffer_size() == 0
        assert await peer.receive(28) == b"four" * 7


async def test_no_more_is_held_than_may_be_written() -> None:
    """``write_limit`` bounds what waits, and no write is refused for what is only held."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"question\nmore\n")
        assert await reader.readline() == b"question\n"
        writer.write_limit = 6
        sizes = []
        for number in range(5):
            writer.write(b"%04d" % number)
            sizes.append(writer.get_write_buffer_size())
        assert max(sizes) <= 6
        assert await peer.receive(20) == b"00000001000200030004"


async def test_more_answers_than_the_kernel_takes() -> None:
    """What is left of them is flushed in the background, as of any write."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"question\nmore\n")
        assert await reader.readline() == b"question\n"
        writer.set_write_buffer_limits(high=2 * len(MUCH))
        writer.write(MUCH)
        assert writer.get_write_buffer_size() == len(MUCH)
        await bridgeio.sleep(0.001)
        assert 0 < writer.get_write_buffer_size() < len(MUCH)
        assert await peer.receive(len(MUCH)) == MUCH


async def test_the_caller_may_change_what_is_held() -> None:
    """``write`` has taken its bytes when it returns."""
    async with peer_stream() as (reader, writer, peer):
        peer.send(b"one\ntwo\n")
        assert await reader.readline() == b"one\n"
        mine = bytearray(b"mine")
        for _ in range(2):
            writer.write(memoryview(mine))
            mine[:] = b"else"
        assert await peer.receive(8) == b"mineelse"


async def test_answers_are_encrypted_together() -> None:
    """Under TLS they become one record, and one that is held when the stream ends comes before that."""
    async with encrypted_stream() as (reader, writer, peer):
        await peer.send_all(b"one\ntwo\nsix\n")
        for left in (4, 8):
            writer.write(await reader.readline())
            assert writer.get_write_buffer_size() == left
        writer.close()
        assert await peer.receive_all() == b"one\ntwo\n"


async def test_answers_that_cannot_be_encrypted_any_more() -> None:
    """The peer has broken the encryption before the turn was over: who closes hears that they are lost."""
    async with encrypted_stream() as (reader, writer, peer):
        peer.tls.write(b"one\ntwo\n")
        peer.peer.send(peer.unsent() + _NO_RECORD)
        writer.write(await reader.readline())
        with pytest.raises(ssl.SSLError):
            await reader.readexactly(100)
        assert writer.get_write_buffer_size() == 4
        await bridgeio.sleep(0.001)
        writer.close()
        with pytest.raises(ssl.SSLError):
            await writer.wait_closed()


_NO_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)  # of the right form, and not encrypted by anybody


async def test_swept_answers() -> None:
    """A task that answers, cancelled at each of its waits: what it had written by then is sent, and nothing twice."""
    lines = [b"%d\n" % number for number in range(8)]

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with peer_stream() as (reader, writer, peer):
            peer.send(b"".join(lines) + b"unread\n")
            written: list[bytes] = []

            async def operation() -> None:
                for number in range(len(lines)):
                    written.append(await reader.readline())
                    writer.write(written[-1])
                    if number % 3 == 2:
                        await bridgeio.sleep(0.001)

            yield operation
            assert written == lines[: len(written)]
            assert await peer.receive(len(b"".join(written))) == b"".join(written)
            writer.write_eof()
            assert await peer.receive_all() == b""

    await sweep(world)


async def test_many_questions_at_once() -> None:
    """More than a task answers in one turn: nothing is lost, doubled or out of order, on many streams together."""
    lines = [b"%d\n" % number for number in range(3000)]

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        async for line in reader:
            writer.write(line)
            await writer.drain()

    async def ask(port: int) -> None:
        reader, writer = await bridgeio.open_connection("127.0.0.1", port)
        async with writer:
            writer.write(b"".join(lines))
            writer.write_eof()
            assert await reader.read() == b"".join(lines)

    async with bridgeio.serve(echo, "127.0.0.1") as server, bridgeio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask, server.port)


def test_answers_at_the_end_of_a_run(backend: str, backend_options: dict[str, Any]) -> None:
    """Who returns from the run without closing leaves nothing unsent, as if each had gone at once."""
    assert run_program(_LEAVING, backend, **backend_options) == "heard: b'one\\n'\n"


_LEAVING = """
import socket
import ssl
listener = socket.create_server(("127.0.0.1", 0))

async def main():
    reader, writer = await bridgeio.open_connection(*listener.getsockname())
    peer, _ = listener.accept()
    peer.sendall(b"one\\ntwo\\n")
    assert await reader.readline() == b"one\\n"
    await bridgeio.sleep(0)  # so that no event has begun the turn
    writer.write(b"one\\n")
    assert writer.get_write_buffer_size() == 4
    return peer

peer = bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
print("heard:", peer.recv(100))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_answers_are_not_sent_by_a_forked_child(backend: str, backend_options: dict[str, Any]) -> None:
    """What is held when a process forks is sent once."""
    assert run_program(_FORKING, backend, **backend_options) == "heard: b'one\\n'\n"


_FORKING = """
import os, socket, warnings
warnings.simplefilter("ignore")  # Python's, about forks in processes with threads
listener = socket.create_server(("127.0.0.1", 0))

async def main():
    reader, writer = await bridgeio.open_connection(*listener.getsockname())
    peer, _ = listener.accept()
    peer.sendall(b"one\\ntwo\\n")
    writer.write(await reader.readline())
    assert writer.get_write_buffer_size() == 4
    child = os.fork()
    if child == 0:
        writer.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    async with writer:
        pass
    heard = b""
    while data := peer.recv(100):
        heard += data
    print("heard:", heard)

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
