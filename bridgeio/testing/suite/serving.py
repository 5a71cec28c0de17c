"""Chapter: serving. Listening, accepting, handlers, and what one handler's fate means for the others."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_task
from bridgeio.testing.peers import FAMILIES, Peer, RawListener, free_address, has_ipv6, open_to, peers_of, raw_socket
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


async def _echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def _serve(address: Any, handler: Any, **options: Any) -> Any:
    """The server for an address of any family."""
    if isinstance(address, str):
        return bridgeio.serve_unix(handler, address, **options)
    return bridgeio.serve(handler, *address[:2], **options)


@pytest.mark.parametrize("family", FAMILIES)
async def test_many_clients_are_served(family: str, socket_folder: Path) -> None:
    """Each connection has a handler of its own, over IPv4, IPv6 and UNIX sockets."""
    async with _serve(free_address(family, socket_folder), _echo) as server:

        async def client(number: int) -> None:
            reader, writer = await open_to(server.addresses[0])
            async with writer:
                for turn in range(5):
                    message = b"%d of %d\n" % (turn, number)
                    writer.write(message)
                    assert await reader.readline() == message

        async with bridgeio.create_task_group() as group:
            for number in range(20):
                group.start_soon(client, number)
        await until(lambda: server.connections == 0)


async def test_port_0_is_one_port_for_all_addresses() -> None:
    """With port 0 the system chooses; without a host IPv4 and IPv6 listen, on the same port."""
    async with bridgeio.serve(_echo) as server:
        assert server.port > 0
        families = {len(address) for address in server.addresses}
        assert families == ({2, 4} if has_ipv6() else {2})
        assert {address[1] for address in server.addresses} == {server.port}
        for host in ("127.0.0.1", "::1") if has_ipv6() else ("127.0.0.1",):
            with Peer.connect((host, server.port)) as peer:
                peer.send(b"hello")
                assert await peer.receive(5) == b"hello"


async def test_a_name_is_listened_on() -> None:
    """A host may be a name; all of its addresses are listened on."""
    async with bridgeio.serve(_echo, "localhost") as server:
        reader, writer = await bridgeio.open_connection("localhost", server.port)
        async with writer:
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"


async def test_the_address_of_a_unix_server_has_no_port(socket_folder: Path) -> None:
    """A UNIX server knows its path, and says that it has no port."""
    async with bridgeio.serve_unix(_echo, socket_folder / "s") as server:
        assert server.addresses == (str(socket_folder / "s"),)
        with pytest.raises(RuntimeError, match="no port"):
            _ = server.port


async def test_a_socket_is_taken_over() -> None:
    """A socket handed in is served, and is the server's from then on: the caller's object is empty."""
    mine = raw_socket()
    mine.bind(("127.0.0.1", 0))
    address = mine.getsockname()
    async with bridgeio.serve(_echo, sock=mine) as server:
        assert server.addresses == (address,)
        assert mine.fileno() == -1
        with Peer.connect(address) as peer:
            peer.send(b"hello")
            assert await peer.receive(5) == b"hello"


async def test_either_a_socket_or_an_address() -> None:
    """``sock`` and ``host`` together are refused, and the socket is left alone."""
    with raw_socket() as mine:
        with pytest.raises(ValueError, match="not both"):
            bridgeio.serve(_echo, "127.0.0.1", 0, sock=mine)
        assert mine.fileno() >= 0


async def test_reuse_port() -> None:
    """With ``reuse_port`` two servers listen on one port; without it the second is refused."""
    async with bridgeio.serve(_echo, "127.0.0.1", reuse_port=True) as first:
        async with bridgeio.serve(_echo, "127.0.0.1", first.port, reuse_port=True) as second:
            assert first.addresses == second.addresses
        with pytest.raises(OSError, match="in use"):
            await bridgeio.serve(_echo, "127.0.0.1", first.port).__aenter__()


async def test_accepting_pauses_at_max_connections() -> None:
    """Beyond ``max_connections`` clients wait in the kernel's queue, and are served when others leave."""
    async with bridgeio.serve(_echo, "127.0.0.1", max_connections=2) as server:
        with peers_of(server.addresses[0], 4) as peers:
            for peer in peers:
                peer.send(b"x")
            assert await peers[0].receive(1) == await peers[1].receive(1) == b"x"
            for _ in range(20):
                await bridgeio.sleep(0.001)
                assert server.connections == 2
            for leaving, served in ((0, 2), (1, 3)):
                peers[leaving].close()
                assert await peers[served].receive(1) == b"x"
                assert server.connections <= 2


async def test_a_handler_finds_its_server() -> None:
    """``current_server`` is the server in a handler and in its children, and an error elsewhere."""
    found: list[object] = []

    async def note() -> None:
        found.append(bridgeio.current_server())

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await note()
        async with bridgeio.create_task_group() as group:
            group.start_soon(note)

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            assert await peer.receive_all() == b""
        assert found == [server, server]
        with pytest.raises(RuntimeError, match="handlers"):
            bridgeio.current_server()


async def test_the_connection_ends_with_its_handler() -> None:
    """What a handler wrote is flushed when it returns; then the peer reads the end."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(bytes(4 << 20))

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            assert len(await peer.receive_all()) == 4 << 20
        await until(lambda: server.connections == 0)


async def test_a_server_as_a_task() -> None:
    """``group.start(serve_task, ...)`` gives a listening server; ``close`` ends the task."""
    async with bridgeio.create_task_group() as group:
        server = await group.start(bridgeio.serve_task, _echo, "127.0.0.1", 0)
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"hello")
            assert await peer.receive(5) == b"hello"
        await server.close()


async def test_a_server_task_that_cannot_listen() -> None:
    """``group.start(serve_task, ...)`` raises what kept the server from listening."""
    with RawListener() as taken:
        async with bridgeio.create_task_group() as group:
            with pytest.raises(OSError, match="in use"):
                await group.start(bridgeio.serve_task, _echo, "127.0.0.1", taken.port)


async def test_serve_forever_ends_with_the_server() -> None:
    """``serve_forever`` waits until somebody closes the server, or until it is cancelled itself."""
    async with bridgeio.serve(_echo, "127.0.0.1") as server:
        with bridgeio.move_on_after(0.01) as scope:
            await server.serve_forever()
        assert scope.cancelled_caught
        async with bridgeio.create_task_group() as group:
            group.start_soon(server.serve_forever)
            await server.close()


async def test_a_handler_that_raises() -> None:
    """A handler's exception goes to ``on_error`` with the peer, closes that connection, and hurts no other."""
    heard: list[tuple[Exception, Any]] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        if await reader.readline() == b"fail\n":
            raise KeyError("mine")
        writer.write(b"fine\n")
        await reader.read(1)

    def on_error(error: Exception, peer: Any) -> None:
        heard.append((error, peer))

    async with bridgeio.serve(handler, "127.0.0.1", on_error=on_error) as server:
        with Peer.connect(server.addresses[0]) as good, Peer.connect(server.addresses[0]) as bad:
            name = bad.sock.getsockname()
            bad.send(b"fail\n")
            assert await bad.receive_all() == b""
            good.send(b"hello\n")
            assert await good.receive(5) == b"fine\n"
            assert [(type(error), peer) for error, peer in heard] == [(KeyError, name)]


async def test_an_on_error_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """An ``on_error`` that fails itself is logged, and the server goes on."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        raise KeyError("mine")

    def on_error(error: Exception, peer: Any) -> None:
        raise ValueError("theirs")

    async with bridgeio.serve(handler, "127.0.0.1", on_error=on_error) as server:
        for _ in range(2):
            with Peer.connect(server.addresses[0]) as peer:
                assert await peer.receive_all() == b""
    assert [record for record in caplog.records if "on_error failed" in record.message]


async def test_errors_are_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """Without ``on_error`` a handler's exception goes to the logger ``bridgeio.server``, with the peer."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        raise KeyError("mine")

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            port = peer.sock.getsockname()[1]
            assert await peer.receive_all() == b""
    (record,) = [record for record in caplog.records if record.name == "bridgeio.server"]
    assert record.levelno == logging.ERROR
    assert str(port) in record.getMessage()


async def test_one_reset_costs_one_connection() -> None:
    """A peer that resets is one failed handler: the others, and the server, go on."""
    async with bridgeio.serve(_echo, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as other:
            for _ in range(10):
                peer = Peer.connect(server.addresses[0])
                peer.send(b"x")
                peer.reset()
            other.send(b"hello")
            assert await other.receive(5) == b"hello"


async def test_out_of_descriptors(caplog: pytest.LogCaptureFixture) -> None:
    """Without a free descriptor the server says so, waits, and accepts when there is one again."""
    async with bridgeio.serve(_echo, "127.0.0.1") as server:
        peer = raw_socket()
        with peer:
            with _no_more_descriptors():
                peer.connect(server.addresses[0])
                await until(lambda: any("cannot accept" in record.message for record in caplog.records))
            peer.send(b"hello")
            assert await Peer(peer).receive(5) == b"hello"


async def test_a_stale_unix_socket_is_replaced(socket_folder: Path) -> None:
    """A socket file that nobody listens on any more does not keep a server from starting; ours is removed."""
    path = socket_folder / "s"
    with raw_socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with bridgeio.serve_unix(_echo, path), bridgeio.create_task_group():
        with Peer.connect(str(path)) as peer:
            peer.send(b"hello")
            assert await peer.receive(5) == b"hello"
    assert not path.exists()


async def test_a_unix_socket_in_use_is_left_alone(socket_folder: Path) -> None:
    """Where somebody listens, or is about to, or where there is another file, a server does not start and disturbs
    nobody: not even by a connection."""
    path, bound, file = str(socket_folder / "s"), str(socket_folder / "bound"), socket_folder / "file"
    file.write_text("precious")
    with RawListener(path) as listener, raw_socket(socket.AF_UNIX) as about_to_listen:
        about_to_listen.bind(bound)
        for taken in (path, bound, file):
            with pytest.raises(OSError, match="in use") as caught:
                await bridgeio.serve_unix(_echo, taken).__aenter__()
            assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(BlockingIOError):
            listener.sock.accept()
        about_to_listen.listen()
        for taken in (path, bound):
            Peer.connect(taken).close()
    assert file.read_text() == "precious"


async def test_another_servers_unix_socket_is_not_removed(socket_folder: Path) -> None:
    """A path that was bound anew meanwhile stays when the first server ends."""
    path = socket_folder / "s"
    async with bridgeio.serve_unix(_echo, path):
        path.unlink()
        second = RawListener(str(path))
    with second:
        assert path.exists()


async def test_the_mode_of_a_unix_socket(socket_folder: Path) -> None:
    """``mode`` sets the permissions of the socket file."""
    async with bridgeio.serve_unix(_echo, socket_folder / "s", mode=0o600):
        assert stat.S_IMODE(os.stat(socket_folder / "s").st_mode) == 0o600
    for wrong, error in ("600", TypeError), (-1, ValueError):
        with pytest.raises(error, match="mode must be"):
            _serve(str(socket_folder / "s"), _echo, mode=wrong)


async def test_a_cancelled_task_listens_on_nothing(socket_folder: Path) -> None:
    """Serving in a cancelled scope raises before it takes anything: no socket file is left."""
    path = socket_folder / "server"
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        async with bridgeio.serve_unix(_echo, path):
            raise AssertionError("entered")
    assert not path.exists()


async def test_a_server_that_is_cancelled_and_stays_open_rests() -> None:
    """While a shield holds up the end of a cancelled server, a connection that nobody takes keeps nobody busy."""
    with bridgeio.CancelScope() as around:
        async with bridgeio.serve(_echo, "127.0.0.1") as server:
            with bridgeio.CancelScope(shield=True):
                poller = current_task().host.poller()
                around.cancel()
                await bridgeio.sleep(0.01)
                with Peer.connect(server.addresses[0]):
                    before = poller.dispatches
                    await bridgeio.sleep(0.05)
                    assert poller.dispatches - before < 10


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("max_connections", 0, ValueError),
        ("max_connections", 1.5, TypeError),
        ("max_connections", "1", TypeError),
        ("backlog", -1, ValueError),
        ("backlog", 2**31, ValueError),
        ("backlog", "1", TypeError),
        ("limit", 0, ValueError),
        ("limit", "1", TypeError),
        ("write_limit", -1, ValueError),
        ("write_limit", None, TypeError),
        ("grace", -1, ValueError),
        ("grace", float("nan"), ValueError),
        ("grace", "1", TypeError),
        ("resolver", 5, TypeError),
    ],
)
async def test_senseless_options_are_refused(option: str, value: Any, error: type[Exception]) -> None:
    """Before anything listens, and by name."""
    with pytest.raises(error, match=f"^{option} "):
        bridgeio.serve(_echo, **{option: value})


async def test_the_limit_is_the_readers() -> None:
    """``limit`` and ``write_limit`` reach the streams of the handlers."""
    seen: list[tuple[int, int]] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        seen.append((reader.limit, writer.write_limit))

    async with bridgeio.serve(handler, "127.0.0.1", limit=17, write_limit=18) as server:
        with Peer.connect(server.addresses[0]) as peer:
            assert await peer.receive_all() == b""
    assert seen == [(17, 18)]


@contextmanager
def _no_more_descriptors() -> Iterator[None]:
    """The process may not open any descriptor: the next free number is above the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
