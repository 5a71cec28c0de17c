"""Chapter: bad input. Peers that lie, stall and vanish, calls that make no sense; and nothing is left of them.

After each of these tests descriptors, tasks and threads are as many as before.
"""

from __future__ import annotations

import errno
import gc
import importlib.util
import resource
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio import registry
from bridgeio.testing.peers import Peer, RawListener, peer_stream, peers_of
from bridgeio.testing.resources import unchanged, until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio


async def _echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def test_an_unknown_backend(backend: str) -> None:
    """The error names the known backends."""
    with pytest.raises(bridgeio.BackendNotFoundError, match=f"nonsense.*{backend}"):
        bridgeio.run(bridgeio.sleep, 0, backend="nonsense")


def test_a_backend_that_is_not_installed(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A known backend whose framework cannot be imported says what installs it, and is not available."""
    described = registry.adapter(backend)
    missing = {name.partition(".")[0] for name in described.requires}
    if not missing - {"asyncio"}:
        pytest.skip("this backend needs nothing but the standard library")
    find_spec = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> Any:
        return None if name.partition(".")[0] in missing else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(bridgeio.BackendNotInstalledError, match="pip install") as caught:
        registry._loaded.__wrapped__(backend)  # not the one that was loaded before
    assert described.install in str(caught.value)
    assert isinstance(caught.value, ImportError)
    assert backend in bridgeio.known_backends()
    assert backend not in bridgeio.available_backends()


async def _use_nothing() -> None:
    await bridgeio.sleep(0)


async def test_a_call_outside_any_backend() -> None:
    """Where no framework runs, bridgeio's functions are NoBackendError, and say what to do.

    Asked in a new thread beside a run: after gevent's patching even the main program is gevent's.
    """
    said: list[str] = []
    original("_thread", "start_new_thread")(_call_everything, (said,))
    await until(lambda: said and said[-1] == "end")
    assert len(said) == 7
    assert all("bridgeio.run" in words for words in said[:-1])


def _call_everything(said: list[str]) -> None:
    try:
        for call in (bridgeio.current_backend, bridgeio.current_time, bridgeio.get_cancelled_exc_class):
            said.append(_refusal(call))
        for function in (_use_nothing, bridgeio.sleep_forever, bridgeio.Event().wait):
            said.append(_refusal(partial(function().send, None)))
    finally:
        said.append("end")


def _refusal(call: Callable[[], object]) -> str:
    try:
        return f"it was not refused: {call()!r}"
    except bridgeio.NoBackendError as error:
        return str(error)


@pytest.mark.parametrize("handler", [None, "handler", print, lambda reader, writer: None])
async def test_a_handler_that_is_no_coroutine_function(handler: Any) -> None:
    """A handler that is no async function is a TypeError before anything listens."""
    with pytest.raises(TypeError, match="async"):
        bridgeio.serve(handler)
    with pytest.raises(TypeError, match="async"):
        bridgeio.serve_unix(handler, "/nowhere")


_SERVERS: dict[str, Callable[..., Any]] = {
    "serve": partial(bridgeio.serve, _echo),
    "serve_unix": partial(bridgeio.serve_unix, _echo, "/nowhere"),
    "serve_stream": partial(bridgeio.serve_stream, _echo, None),
}


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("handshake_timeout", -1, ValueError),
        ("handshake_timeout", "1", TypeError),
        ("on_error", 5, TypeError),
        ("on_error", False, TypeError),
    ],
)
@pytest.mark.parametrize("name", _SERVERS)
async def test_an_option_that_a_later_connection_would_meet(
    name: str, option: str, value: Any, error: type[Exception]
) -> None:
    """It is refused by name before anything listens, also without TLS and before any handler fails."""
    with pytest.raises(error, match=f"^{option} is "):
        _SERVERS[name](**{option: value})


async def test_a_server_that_is_awaited() -> None:
    """``await serve(...)``, as asyncio has it, says what to write instead; nothing listens."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        pass

    async with unchanged():
        with pytest.raises(TypeError, match="async with serve"):
            await bridgeio.serve(handler, "127.0.0.1")  # type: ignore[misc]


async def test_start_of_a_function_that_cannot_say_so() -> None:
    """A function without ``task_status``, or one that is not async, is a TypeError that says what is missing."""

    async def child() -> None:
        raise AssertionError("it must not run")

    def plain(*, task_status: bridgeio.TaskStatus[None]) -> None:
        pass

    async with bridgeio.create_task_group() as group:
        with pytest.raises(TypeError, match=r"child has no parameter task_status.*start_soon"):
            await group.start(child)
        with pytest.raises(TypeError, match="plain is no async function"):
            await group.start(plain)  # type: ignore[arg-type]


async def test_a_coroutine_for_blocking() -> None:
    """``blocking(function(...))`` says that the function itself is wanted, and leaves no coroutine behind."""
    with pytest.raises(TypeError, match=r"leave out the first \(\)"):
        bridgeio.blocking(bridgeio.sleep(0))  # type: ignore[call-overload]


async def test_a_port_in_use() -> None:
    """The system's error, with the address; whatever was bound before is closed again."""
    with RawListener() as taken:
        async with unchanged():
            with pytest.raises(OSError, match=str(taken.port)) as caught:
                await bridgeio.serve(_echo, "127.0.0.1", taken.port).__aenter__()
            assert caught.value.errno == errno.EADDRINUSE


async def test_a_reset_while_reading() -> None:
    """A reset is ConnectionResetError with the peer's address, at this read and every later one."""
    async with unchanged(), peer_stream() as (reader, writer, peer):
        name = str(peer.sock.getsockname()[1])
        peer.reset()
        for _ in range(2):
            with pytest.raises(ConnectionResetError, match=name) as caught:
                await reader.read(1)
            assert isinstance(caught.value.__cause__, OSError)
        writer.close()
        await writer.wait_closed()


async def test_a_reset_after_data() -> None:
    """Bytes that were read before the reset are not lost with it."""
    async with unchanged(), peer_stream() as (reader, _, peer):
        peer.send(b"first\nsecond\n")
        assert await reader.readline() == b"first\n"
        peer.reset()
        assert await reader.readline() == b"second\n"
        with pytest.raises(ConnectionResetError):
            await reader.readline()


async def test_a_peer_that_vanishes_mid_write() -> None:
    """Writing to a peer that is gone is a ConnectionError before long, and not a hang."""
    async with unchanged(), peer_stream() as (_, writer, peer):
        peer.reset()
        with pytest.raises(ConnectionError):
            await _write_for_ever(writer)


async def test_a_peer_that_never_reads_while_we_close() -> None:
    """``async with writer`` comes back after ``linger``, with an error that says why."""
    async with unchanged(), peer_stream() as (_, writer, _peer):
        writer.linger = 0.02
        writer.write(bytes(5 << 20))
        with pytest.raises(ConnectionAbortedError, match="did not take"):
            await _leave(writer)


async def test_a_handlers_peer_that_never_reads() -> None:
    """A handler whose answer nobody reads holds its connection for ``linger``, then it is dropped."""

    begun: list[bridgeio.Writer] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        begun.append(writer)
        writer.linger = 0.02
        writer.write(bytes(5 << 20))

    async with unchanged(), bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            await until(lambda: begun)
            await until(lambda: server.connections == 0)
            assert await peer.sees_reset()


async def test_one_out_of_band_byte() -> None:
    """An urgent byte stalls nobody: what comes before and after it is read, in order."""
    async with unchanged(), bridgeio.serve(_echo, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            for turn in range(5):
                peer.send(b"before %d" % turn)
                peer.send_urgent()
                peer.send(b"after %d" % turn)
                assert await peer.receive(15) == b"before %dafter %d" % (turn, turn)


async def test_out_of_band_between_two_halves() -> None:
    """Data on both sides of an urgent byte that came at once is read whole, with the end behind it."""
    async with unchanged(), peer_stream() as (reader, _, peer):
        peer.send(b"x" * 100)
        peer.send_urgent()
        peer.send(b"y" * 100)
        peer.half_close()
        assert await reader.readexactly(200) == b"x" * 100 + b"y" * 100
        assert await reader.read() == b""


async def test_two_thousand_connections_dropped_at_once() -> None:
    """2,000 connections that are there at once and reset at once leave nothing, and the server goes on."""
    every: list[Peer] = []
    async with unchanged(), bridgeio.serve(_echo, "127.0.0.1", on_error=lambda error, peer: None) as server:
        with _descriptors(4200), ExitStack() as stack:
            for _ in range(20):
                every += stack.enter_context(peers_of(server.addresses[0], 100))
                every[-1].send(b"!")
                assert await every[-1].receive(1) == b"!"
            await until(lambda: server.connections == 2000)
            for peer in every:
                peer.reset()
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"hello")
            assert await peer.receive(5) == b"hello"
        await until(lambda: server.connections == 0)


async def test_hundreds_of_connections_reset_before_they_are_accepted() -> None:
    """Connections that are over when the server gets to see them are no handlers that hang, and no leak."""
    async with unchanged(), bridgeio.serve(_echo, "127.0.0.1", on_error=lambda error, peer: None) as server:
        for _ in range(5):
            with peers_of(server.addresses[0], 100) as peers:
                for peer in peers:
                    peer.reset()
            await bridgeio.sleep(0)
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"hello")
            assert await peer.receive(5) == b"hello"
        await until(lambda: server.connections == 0)


async def test_connections_that_are_opened_and_left() -> None:
    """Clients that connect and close without a word are handlers that end, and nothing else."""
    async with unchanged(), bridgeio.serve(_echo, "127.0.0.1") as server:
        for _ in range(5):
            with peers_of(server.addresses[0], 100):
                pass
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"hello")
            assert await peer.receive(5) == b"hello"
        await until(lambda: server.connections == 0)


async def test_failing_handlers_leave_nothing() -> None:
    """A hundred handlers that raise, in all places, leave nothing open."""
    failed: list[Exception] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        number = int(await reader.readline())
        if number % 3 == 0:
            writer.write(bytes(100_000))
        async with bridgeio.create_task_group() as group:
            if number % 2:
                group.start_soon(bridgeio.sleep_forever)
            raise KeyError("mine")

    async with unchanged(), bridgeio.serve(handler, "127.0.0.1", on_error=lambda e, _: failed.append(e)) as server:
        with peers_of(server.addresses[0], 100) as peers:
            for number, peer in enumerate(peers):
                peer.send(b"%d\n" % number)
            for peer in peers:
                await peer.receive_all()
        await until(lambda: server.connections == 0)
    assert len(failed) == 100


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_connections_that_are_over_leave_no_cycles(end: str) -> None:
    """They are freed when they end and not when the garbage collector comes round, however they ended."""
    sockets: list[weakref.ref[socket.socket]] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        sockets.append(weakref.ref(writer.get_extra_info("socket")))
        with suppress(ConnectionError):
            while await reader.read(1):
                pass
        for _ in range(2):
            with suppress(ConnectionError):
                writer.write(b"too late")

    gc.collect()
    gc.disable()
    try:
        async with bridgeio.serve(handler, "127.0.0.1") as server:
            for _ in range(3):
                with Peer.connect(server.addresses[0]) as peer:
                    await until(lambda: server.connections == 1)
                    peer.reset() if end == "reset" else peer.close()
                    await until(lambda: server.connections == 0)
            assert len(sockets) == 3
            await until(lambda: all(reference() is None for reference in sockets))
    finally:
        gc.enable()


async def test_garbage_for_arguments() -> None:
    """What no stream can send is a TypeError that says what it carries, and the stream is as it was."""
    forgotten = bridgeio.sleep(0)
    async with unchanged(), peer_stream() as (_, writer, peer):
        for garbage, advice in (("text", "encode"), (3, "bytes"), (None, "bytes"), (forgotten, "awaiting")):
            with pytest.raises(TypeError, match=advice):
                writer.write(garbage)  # type: ignore[arg-type]
        writer.write(b"fine")
        assert await peer.receive(4) == b"fine"
    forgotten.close()


@pytest.mark.parametrize("name", ["readuntil", "discard_until"])
async def test_a_separator_that_is_no_bytes(name: str) -> None:
    """A str is refused at once: looked for at the first byte only, it would wait for a silent peer for ever."""
    async with unchanged(), peer_stream() as (reader, _, peer):
        for garbage in ("\n", 10, None):
            with pytest.raises(TypeError, match="separator is bytes"):
                await getattr(reader, name)(garbage)
        peer.send(b"fine;")
        assert await reader.readuntil(b";") == b"fine;"


@contextmanager
def _descriptors(number: int) -> Iterator[None]:
    """The process may open so many, as far as the system's administrator lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"this process may not open {number} descriptors, only {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _write_for_ever(writer: bridgeio.Writer) -> None:
    while True:
        writer.write(bytes(65536))
        await writer.drain()


async def _leave(writer: bridgeio.Writer) -> None:
    async with writer:
        pass


_BOUNDED: dict[str, Callable[[Any], Any]] = {
    "open_connection": lambda size: bridgeio.open_connection("localhost", 1, limit=size),
    "open_unix_connection": lambda size: bridgeio.open_unix_connection("nowhere", limit=size),
    "open_process": lambda size: bridgeio.open_process(["nothing"], limit=size),
    "open_stdin": lambda size: bridgeio.open_stdin(limit=size),
    "open_stdout": lambda size: bridgeio.open_stdout(write_limit=size),
}


@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)])
@pytest.mark.parametrize("name", _BOUNDED)
async def test_a_bound_that_makes_no_sense(name: str, size: Any, error: type[Exception]) -> None:
    """It is refused before anything is opened: a buffer has room for one byte at least."""
    with pytest.raises(error, match=r"limit .* bytes?, not"):
        await _BOUNDED[name](size)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
