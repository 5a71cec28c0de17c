"""Chapter: waiting for descriptors that other code reads and writes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.lowlevel import notify_closing, wait_readable, wait_writable
from bridgeio.testing.peers import peer_stream
from bridgeio.testing.resources import unchanged, until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

_WAITS = {"read": wait_readable, "write": wait_writable}


async def test_a_descriptor_that_becomes_readable() -> None:
    """The wait ends when something comes, and takes nothing of it; what is there already is not waited for."""
    async with unchanged():
        with _pair() as (near, far):
            ended = await _ended_by(lambda: far.send(b"hello"), wait_readable, near)
            await wait_readable(near.fileno())
            assert (ended, near.recv(100)) == ("ready", b"hello")


async def test_a_descriptor_that_becomes_writable() -> None:
    """The wait ends when there is room again, in a pipe as in a socket."""
    async with unchanged():
        with _pair() as (near, far):
            size = _filled(lambda: near.send(bytes(65536)))
            assert await _ended_by(lambda: far.recv(size), wait_writable, near) == "ready"
        with _pipe() as (out, into):
            size = _filled(lambda: os.write(into.fileno(), bytes(4096)))
            assert await _ended_by(lambda: os.read(out.fileno(), size), wait_writable, into) == "ready"


async def test_an_end_is_something_to_read() -> None:
    """So is an end that comes while a task waits; and a pipe that nobody will read can be written, to be told so."""
    with _pair() as (near, far):
        assert await _ended_by(far.close, wait_readable, near) == "ready"
        assert near.recv(1) == b""
    with _pipe() as (out, into):
        assert await _ended_by(into.close, wait_readable, out) == "ready"
        assert out.read(1) == b""
    with _pipe() as (out, into):
        _filled(lambda: os.write(into.fileno(), bytes(4096)))
        assert await _ended_by(out.close, wait_writable, into) == "ready"
        with pytest.raises(BrokenPipeError):
            os.write(into.fileno(), b"?")


async def test_a_regular_file_is_always_ready(tmp_path: Path) -> None:
    """On each framework, though several of them could not watch one."""
    with original("io", "open")(tmp_path / "file", "w+") as file:
        await wait_readable(file)
        await wait_writable(file)


async def test_both_directions_at_once() -> None:
    """Two tasks wait for one socket, each for its own direction, and are told each of its own."""
    with _pair() as (near, far):
        size = _filled(lambda: near.send(bytes(65536)))
        async with bridgeio.create_task_group() as group:
            group.start_soon(wait_readable, near)
            await until(lambda: _waits_for(near.fileno()) == 1)
            async with bridgeio.create_task_group() as other:
                other.start_soon(wait_writable, near)
                await until(lambda: _waits_for(near.fileno()) == 2)
                far.recv(size)
            far.send(b"!")


@pytest.mark.parametrize("direction", _WAITS)
async def test_a_second_wait_for_a_descriptor(direction: str) -> None:
    """It is refused, and the first is not disturbed."""
    wait = _WAITS[direction]
    with _pair() as (near, far):
        size = _filled(lambda: near.send(bytes(65536)))

        async def wait_too() -> None:
            with pytest.raises(bridgeio.BusyError, match=f"descriptor {near.fileno()} is {direction[:4]}"):
                await wait(near)
            far.send(b"!")
            far.recv(size)

        async with bridgeio.create_task_group() as group:
            group.start_soon(_as_second, near, wait_too)
            await wait(near)


@pytest.mark.parametrize("direction", _WAITS)
async def test_a_descriptor_that_is_closed_meanwhile(direction: str) -> None:
    """`notify_closing` ends the wait with an error, and then closing is what it says: the peer sees it at once, and
    whoever gets the number is nobody's business."""
    async with unchanged():
        with _pair() as (near, far):
            _filled(lambda: near.send(bytes(65536)))
            number = near.fileno()

            def close() -> None:
                notify_closing(near)
                near.close()
                while far.recv(1 << 20):
                    """What was sent before."""

            assert f"waited until descriptor {number} is {direction[:4]}" in await _ended_by(
                close, _WAITS[direction], near
            )
        with _pair() as (near, far):
            far.send(b"hello")
            await wait_readable(near)


async def test_telling_of_a_close_that_nobody_waits_for() -> None:
    """Does nothing."""
    with _pair() as (near, _):
        notify_closing(near)
        notify_closing(near.fileno())
        await wait_writable(near)


async def test_beside_a_reader_and_a_writer() -> None:
    """A task that waits for the socket of a stream is told sooner or later, and the stream reads all that came."""
    async with peer_stream() as (reader, writer, peer), bridgeio.create_task_group() as group:
        sock: Any = writer.get_extra_info("socket")
        told: list[bool] = []
        got: list[bytes] = []

        async def read() -> None:
            got.append(await reader.readline())

        async def send() -> None:
            sent = b""
            while not told:  # the reader may be quicker each time, and then there is nothing to be told
                peer.send(b"x")
                sent += b"x"
                await bridgeio.sleep(0.001)
            peer.send(b"\n")
            await until(lambda: got)
            assert got == [sent + b"\n"]

        group.start_soon(read)
        group.start_soon(send)
        await wait_readable(sock)
        told.append(True)
        await wait_writable(sock)


async def test_waits_that_are_cancelled() -> None:
    """By a deadline, or before they begin; the descriptor can be waited for again, and nothing is left behind."""
    async with unchanged():
        with _pair() as (near, far):
            with bridgeio.move_on_after(0.01) as scope:
                await wait_readable(near)
            assert scope.cancelled_caught
            far.send(b"!")
            with bridgeio.CancelScope() as scope:
                scope.cancel()
                await wait_readable(near)
            assert scope.cancelled_caught
            await wait_readable(near)


@pytest.mark.parametrize("function", [*_WAITS.values(), notify_closing])
async def test_what_has_no_descriptor(function: Any) -> None:
    """Says what it was given, and what it expects."""
    with _pair() as (near, _):
        pass
    for thing, kind, words in [
        (None, TypeError, "what has fileno.., not None"),
        ("7", TypeError, "what has fileno.., not '7'"),
        (True, TypeError, "not True"),
        (near, ValueError, "is closed"),
        (-1, ValueError, "-1 is closed"),
    ]:
        with pytest.raises(kind, match=words):
            await _called(function, thing)


@pytest.mark.parametrize("wait", _WAITS.values())
async def test_a_number_that_is_not_open(wait: Any) -> None:
    """It is the system's own error."""
    with pytest.raises(OSError, match="Bad file descriptor"):
        await wait(1_000_000)


async def _ended_by(action: Callable[[], object], wait: Callable[..., Any], obj: Any) -> str:
    """How a wait ended that began before the action."""
    ended = "ready"
    async with bridgeio.create_task_group() as group:
        group.start_soon(_once_waited_for, obj.fileno(), action)
        try:
            await wait(obj)
        except bridgeio.ClosedResourceError as error:
            ended = str(error)
    return ended


async def _called(function: Callable[[object], Any], thing: object) -> None:
    waited = function(thing)
    if waited is not None:
        await waited


async def _once_waited_for(fd: int, action: Callable[[], object]) -> None:
    await until(lambda: _waits_for(fd))
    action()


def _waits_for(fd: int) -> int:
    """How many tasks wait, as the dump of all tasks tells it."""
    told = StringIO()
    bridgeio.dump_tasks(told)
    return told.getvalue().count(f"waiting until descriptor {fd} is ")


async def _as_second(sock: socket.socket, wait: Callable[[], Any]) -> None:
    await _once_waited_for(sock.fileno(), lambda: None)
    await wait()


def _filled(send: Callable[[], int]) -> int:
    """Sends until no more goes; how much has gone."""
    sent = 0
    while True:
        try:
            sent += send()
        except BlockingIOError:
            return sent


@contextmanager
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = original("socket", "socketpair")()
    with near, far:
        near.setblocking(False)
        yield near, far


@contextmanager
def _pipe() -> Iterator[tuple[Any, Any]]:
    out, into = os.pipe()
    os.set_blocking(into, False)
    with closing(os.fdopen(out, "rb", buffering=0)) as reading, closing(os.fdopen(into, "wb", buffering=0)) as writing:
        yield reading, writing


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
