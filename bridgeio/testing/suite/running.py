"""Chapter: running. Entering a framework and leaving it, again and again, and a program that does only that."""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from types import FrameType
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.peers import Peer, RawListener, peer_stream, raw_socket
from bridgeio.testing.programs import program, run_program
from bridgeio.testing.resources import until
from bridgeio.unpatched import get_ident, original

pytestmark = pytest.mark.bridgeio


def _run(backend: str, backend_options: dict[str, Any], function: Any, *args: Any) -> Any:
    return bridgeio.run(function, *args, backend=backend, backend_options=backend_options)


def test_run_gives_the_result(backend: str, backend_options: dict[str, Any]) -> None:
    """``run`` passes arguments, returns the result, and tells inside which backend it is."""

    async def main(one: int, two: int) -> tuple[int, str]:
        await bridgeio.sleep(0)
        return one + two, bridgeio.current_backend()

    assert _run(backend, backend_options, main, 1, 2) == (3, backend)


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt, SystemExit])
def test_what_main_raises_comes_out(backend: str, backend_options: dict[str, Any], kind: type[BaseException]) -> None:
    """An exception of the main function comes out of ``run``; KeyboardInterrupt and SystemExit too."""

    async def main() -> None:
        await bridgeio.sleep(0)
        raise kind(3)

    with pytest.raises(kind) as caught:
        _run(backend, backend_options, main)
    assert caught.value.args == (3,)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_child_may_end_the_run(backend: str, backend_options: dict[str, Any], kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit of a child end its siblings and come out of ``run`` as they are."""
    ended: list[str] = []

    async def leave() -> None:
        await bridgeio.sleep(0.001)
        raise kind()

    async def wait() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            ended.append("sibling")

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(leave)

    with pytest.raises(kind):
        _run(backend, backend_options, main)
    assert ended == ["sibling"]


def test_ten_times_in_one_process(backend: str, backend_options: dict[str, Any]) -> None:
    """A backend runs again and again, each time with a server and a client."""

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(await reader.readline())

    async def main(turn: int) -> bytes:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                writer.write(b"turn %d\n" % turn)
                return await reader.readline()

    assert [_run(backend, backend_options, main, turn) for turn in range(10)] == [
        b"turn %d\n" % turn for turn in range(10)
    ]


def test_an_unknown_option_is_refused(backend: str) -> None:
    """An option that the backend does not know is a TypeError, and no coroutine is left behind."""
    with pytest.raises(TypeError, match="nonsense"):
        bridgeio.run(bridgeio.sleep, 0, backend=backend, backend_options={"nonsense": 1})


def test_what_cannot_be_run(backend: str, backend_options: dict[str, Any]) -> None:
    """``run`` wants an async function; anything else is a TypeError that says so, a coroutine too."""
    for wrong in (None, print, bridgeio.sleep(0)):
        with pytest.raises(TypeError, match="async function"):
            _run(backend, backend_options, wrong)


def test_the_end_of_a_run_flushes(backend: str, backend_options: dict[str, Any]) -> None:
    """What a writer had taken when it was closed arrives, though nobody waited for it before the run ended."""
    size = 200_000

    async def main(listener: RawListener) -> Peer:
        _, writer = await bridgeio.open_connection("127.0.0.1", listener.port)
        peer = await listener.accept()
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        writer.write(bytes(size))
        writer.close()
        return peer

    with RawListener() as listener, closing(_run(backend, backend_options, main, listener)) as peer:
        peer.sock.setblocking(True)
        received = 0
        while data := peer.sock.recv(65536):
            received += len(data)
    assert received == size


def test_a_stream_of_a_run_that_has_ended(backend: str, backend_options: dict[str, Any]) -> None:
    """A run leaves no descriptor behind. A stream that outlives it is an error to use, and can be closed."""

    async def open_one(listener: RawListener) -> tuple[bridgeio.Reader, bridgeio.Writer]:
        opened = await bridgeio.open_connection("127.0.0.1", listener.port)
        (await listener.accept()).close()
        return opened

    async def use(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        with pytest.raises(bridgeio.StreamClosedError, match="ended"):
            await reader.read(1)
        with pytest.raises(bridgeio.StreamClosedError, match="ended"):
            writer.write(b"x")
        writer.close()

    with RawListener() as listener:
        reader, writer = _run(backend, backend_options, open_one, listener)
        assert writer.get_extra_info("socket").fileno() == -1
        _run(backend, backend_options, use, reader, writer)


async def test_a_stream_of_another_run() -> None:
    """A task of another run that would have to wait for a stream is told so: nobody could wake it."""
    told: list[BaseException] = []
    size = 16 * 1024 * 1024

    async def use(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        for operation in (partial(reader.read, 1), writer.drain):
            with pytest.raises(bridgeio.SharedBetweenRunsError) as refusal:
                await operation()
            told.append(refusal.value)

    async with peer_stream() as (reader, writer, _):
        writer.write(bytes(size))
        original("_thread", "start_new_thread")(_run, ("threads", {}, use, reader, writer))
        await until(lambda: len(told) == 2)
        writer.abort()


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # Trio's opinion of it
async def test_async_generators_are_finalised_here(backend: str) -> None:
    """The cleanup of a generator that nobody finished runs in its own run, and may wait behind a shield."""
    cleaned: list[str] = []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            with bridgeio.CancelScope(shield=True):  # Trio closes it in a cancelled scope
                await bridgeio.sleep(0.001)
            cleaned.append(bridgeio.current_backend())

    async def begin() -> None:
        async for _ in generate():
            break

    await begin()
    await until(lambda: cleaned)
    assert cleaned == [backend]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_server_drains_at_a_signal(backend: str, backend_options: dict[str, Any], number: signal.Signals) -> None:
    """SIGINT and SIGTERM drain: handlers finish, the server accepts no more, the program ends with status 0."""
    with program(_SERVER, backend, **backend_options) as running:
        address = _address_of(running)
        with _connected(address) as client:
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
            running.send_signal(number)
            assert client.recv(100) == b"bye\n"
            assert client.recv(100) == b""
        printed, complaint = running.ended()
        assert (running.returncode, printed) == (0, "ended\n"), complaint


def test_a_second_signal_ends_run_server_at_once(backend: str, backend_options: dict[str, Any]) -> None:
    """A second signal cancels the handlers that the first one left their grace."""
    with program(_SERVER, backend, **backend_options) as running:
        address = _address_of(running)
        with _connected(address) as client:
            client.sendall(b"stay\n")
            assert client.recv(100) == b"stay\n"
            running.send_signal(signal.SIGTERM)
            assert client.recv(100) == b"bye\n"
            running.send_signal(signal.SIGTERM)
            assert client.recv(100) == b""
        printed, complaint = running.ended()
        assert (running.returncode, printed) == (0, "ended\n"), complaint


def test_a_signal_wakes_a_sleeping_run(backend: str, backend_options: dict[str, Any]) -> None:
    """Python's handler runs at once, also for a signal that interrupts nothing: one that another thread was given."""
    pause = original("time", "sleep")

    def send() -> None:
        pause(0.05)  # so that the run has gone to sleep; a signal before that is no question
        signal.pthread_kill(get_ident(), signal.SIGUSR2)

    async def main() -> None:
        handled, host = bridgeio.Event(), current_host()

        def on_signal(number: int, frame: FrameType | None) -> None:
            host.call_soon_threadsafe(handled.set)

        signal.signal(signal.SIGUSR2, on_signal)
        original("_thread", "start_new_thread")(send, ())
        await handled.wait()

    before = signal.getsignal(signal.SIGUSR2)
    try:
        bridgeio.run(main, backend=backend, backend_options=backend_options)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert signal.set_wakeup_fd(-1) == -1


def test_a_process_ends_by_itself(backend: str, backend_options: dict[str, Any]) -> None:
    """After ten runs with servers, clients and names nothing keeps the process from exiting."""
    assert run_program(_TEN_RUNS, backend, **backend_options) == "10\n"


_SERVER = """
async def handler(reader, writer):
    line = await reader.readline()
    writer.write(line)
    await bridgeio.current_server().closing.wait()
    writer.write(b"bye\\n")
    if line == b"stay\\n":
        await bridgeio.sleep_forever()

def on_started(server):
    print(server.port, flush=True)

bridgeio.run_server(handler, "127.0.0.1", 0, backend=BACKEND, backend_options=OPTIONS, on_started=on_started)
print("ended")
"""

_TEN_RUNS = """
async def echo(reader, writer):
    writer.write(await reader.readline())

async def main():
    async with bridgeio.serve(echo, "localhost") as server:
        reader, writer = await bridgeio.open_connection("localhost", server.port)
        async with writer:
            writer.write(b"hello\\n")
            return await reader.readline()

results = [bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS) for _ in range(10)]
print(results.count(b"hello\\n"))
"""


def _address_of(running: Any) -> tuple[str, int]:
    line = running.stdout.readline()
    assert line, running.stderr.read()
    return "127.0.0.1", int(line)


def _connected(address: tuple[str, int]) -> socket.socket:
    client = raw_socket()
    client.settimeout(20)
    client.connect(address)
    return client


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
