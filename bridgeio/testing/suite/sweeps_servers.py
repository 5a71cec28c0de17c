"""Chapter: sweeps of servers. Cancelled at each wait, also of their handlers: no connection is forgotten.

After each run every peer has seen the end of its connection, the address is free, and a socket file is
gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

import bridgeio
import bridgeio.lowlevel
from bridgeio import running
from bridgeio.testing.peers import Peer, is_over, raw_socket
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio


async def _echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    async for line in reader:
        writer.write(line)
        await writer.drain()


class Client:
    """Raw peers of one server, played by the operation itself."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def connect(self, server: bridgeio.Server) -> Peer:
        peer = Peer.connect(server.addresses[0])
        self.peers.append(peer)
        peer.send(b"hello\n")
        return peer

    async def check(self) -> None:
        """However the server ended, no peer waits for it in vain."""
        assert [await is_over(peer) for peer in self.peers] == [True] * len(self.peers)


@asynccontextmanager
async def _client() -> AsyncIterator[Client]:
    client = Client()
    try:
        yield client
        await client.check()
    finally:
        for peer in client.peers:
            peer.close()


async def _talk(server: bridgeio.Server, client: Client) -> None:
    """One connection ends by itself, another is open when the server is left.

    When both sides are cancelled the server may be first: then this side is told of it at its next wait.
    """
    await bridgeio.lowlevel.checkpoint_if_cancelled()
    first, _ = client.connect(server), client.connect(server)
    with suppress(ConnectionResetError):
        answer = await first.receive(6)
        first.half_close()
        answer += await first.receive_all()
        await bridgeio.lowlevel.checkpoint_if_cancelled()
        assert answer == b"hello\n"


async def _serve_and_talk(client: Client) -> None:
    async with bridgeio.serve(_echo, "127.0.0.1", grace=0.0) as server:
        await _talk(server, client)


async def _serve_as_a_task(client: Client) -> None:
    async with bridgeio.create_task_group() as group:
        server = await group.start(lambda *, task_status: _serve_task(task_status))
        await _talk(server, client)
        await server.close()


async def _serve_task(task_status: Any) -> None:
    await bridgeio.serve_task(_echo, "127.0.0.1", grace=0.0, task_status=task_status)


async def _serve_a_name(client: Client) -> None:
    async with bridgeio.serve(_echo, "localhost", grace=0.0) as server:
        await _talk(server, client)


async def _serve_one_at_a_time(client: Client) -> None:
    async with bridgeio.serve(_echo, "127.0.0.1", grace=0.0, max_connections=1) as server:
        await _talk(server, client)


SERVING: dict[str, Callable[[Client], Any]] = {
    "serve": _serve_and_talk,
    "serve_task": _serve_as_a_task,
    "serve by name": _serve_a_name,
    "serve one at a time": _serve_one_at_a_time,
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", SERVING)
async def test_swept_servers(name: str) -> None:
    """A server that is cancelled while it binds, accepts, serves or drains closes all that it has taken."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _client() as client:
            yield lambda: SERVING[name](client)

    await sweep(world, name=name)


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("signals", [1, 2])
async def test_a_swept_server_program(signals: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `run_server` runs, cancelled before, between and after its signals, closes all that it has taken."""
    callbacks: list[Callable[[Signals], None]] = []

    @contextmanager
    def calling(host: object, callback: Callable[[Signals], None], *numbers: Signals, times: int) -> Iterator[None]:
        """In place of a signal of the system's, which would come whenever it likes."""
        assert len(numbers) == times == 2
        callbacks.append(callback)
        try:
            yield
        finally:
            callbacks.clear()

    monkeypatch.setattr(running, "signals_call", calling)

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        servers: list[bridgeio.Server] = []
        started = bridgeio.Event()

        def on_started(server: bridgeio.Server) -> None:
            servers.append(server)
            started.set()

        async def program() -> None:  # with a second signal nobody waits for the grace
            serving = bridgeio.serve(_echo, "127.0.0.1", grace=0.0 if signals == 1 else 60.0)
            await running.serve_until_signal(serving, on_started)

        async with _client() as client:

            async def operation() -> None:
                async with bridgeio.create_task_group() as group:
                    group.start_soon(program)
                    await started.wait()
                    await _talk(servers[0], client)
                    for callback in callbacks * signals:  # none, if the program was cancelled first
                        callback(Signals.SIGTERM)

            yield operation
        assert callbacks == []

    await sweep(world, name="run_server" if signals == 1 else "run_server, told twice")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_server_on_a_path(socket_folder: Path) -> None:
    """A UNIX server, too; whenever it ends, its socket file is gone."""
    path = socket_folder / "s"

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _client() as client:

            async def operation() -> None:
                async with bridgeio.serve_unix(_echo, path, grace=0.0) as server:
                    await _talk(server, client)

            yield operation
        assert not path.exists()

    await sweep(world, name="serve_unix")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_server_on_a_given_socket() -> None:
    """A socket that was handed in is the server's, or still the caller's; closed by one of them."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _client() as client:
            with _bound() as sock:

                async def operation() -> None:
                    async with bridgeio.serve(_echo, sock=sock, grace=0.0) as server:
                        await _talk(server, client)

                yield operation

    await sweep(world, name="serve a socket")


@contextmanager
def _bound() -> Iterator[Any]:
    with raw_socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("ends_by_itself", [True, False])
async def test_a_swept_drain(ends_by_itself: bool) -> None:
    """``close`` may be given up at any wait: the block's own end completes it, and no connection is left."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with _client() as client, bridgeio.serve(_echo, "127.0.0.1", grace=0.0) as server:
            peer = client.connect(server)
            assert await peer.receive(6) == b"hello\n"
            if ends_by_itself:
                peer.half_close()

            async def operation() -> None:
                await server.close(grace=10.0 if ends_by_itself else 0.0)

            yield operation
            report = await server.close(grace=0.0)
            assert ends_by_itself or report.cancelled == 1
            assert server.connections == 0

    await sweep(world, name="a patient close" if ends_by_itself else "close")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_wait_for_a_servers_end() -> None:
    """``serve_forever`` and ``closing.wait``: a cancel ends the wait, not the server."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with bridgeio.serve(_echo, "127.0.0.1") as server, bridgeio.create_task_group() as group:
            waits = bridgeio.Event()

            async def close() -> None:
                await waits.wait()
                with Peer.connect(server.addresses[0]) as peer:  # still open
                    peer.half_close()
                    assert await peer.receive_all() == b""
                await server.close()

            async def operation() -> None:
                waits.set()
                await server.serve_forever()
                await server.closing.wait()

            group.start_soon(close)
            yield operation
            waits.set()

    await sweep(world, name="serve_forever")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
