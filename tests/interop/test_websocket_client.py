"""The WebSocket client of the examples, on every backend; its peer is a server of the `websockets` library."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from queue import Queue
from threading import Thread
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import unchanged, until
from bridgeio.testing.tls_peers import authority, client_context
from programs import PATIENCE

pytest.importorskip("websockets", reason="websockets is not installed: pip install 'bridgeio[test]'")
pytest.importorskip("wsproto", reason="wsproto is not installed: pip install 'bridgeio[test]'")

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

import wswire

pytestmark = pytest.mark.bridgeio


class Server:
    """In a thread of its own, and one for each connection.

    :ivar url: where it listens.
    :ivar codes: how clients have ended their connections.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.codes: Queue[int | None] = Queue()


@contextmanager
def serving(
    handle: Callable[[ServerConnection], None], tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[Server]:
    def handler(connection: ServerConnection) -> None:
        try:
            handle(connection)
            while True:
                connection.recv(PATIENCE)
        except ConnectionClosed:
            server.codes.put(connection.close_code)

    with serve(handler, "127.0.0.1", 0, ssl=tls, **options) as listening:
        server = Server(f"{'wss' if tls else 'ws'}://localhost:{listening.socket.getsockname()[1]}/")
        thread = Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join(PATIENCE)


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.mark.parametrize("compress", [True, False])
async def test_messages_come_back_as_they_were(compress: bool) -> None:
    """Text and bytes, nothing at all and a megabyte, with compression and without; then both say goodbye."""
    with serving(echo) as server:
        async with await wswire.connect(server.url, compress=compress) as websocket:
            for message in ("hello", "", "zwölf", b"\x00\xff", b"", bytes(range(256)) * 4096):
                await websocket.send(message)
                assert await websocket.receive() == message
        assert server.codes.get(timeout=PATIENCE) == 1000


async def test_tls() -> None:
    """``wss:`` checks the certificate, and goes on the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost").configure_cert(context)
    with serving(echo, context) as server:
        async with await wswire.connect(server.url, ssl=client_context()) as websocket:
            await websocket.send("hello")
            assert await websocket.receive() == "hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await wswire.connect(server.url)


async def test_fragments_and_pings_of_the_server() -> None:
    """A message in fragments is one message; pings are answered by whoever receives."""
    answered: Queue[bool] = Queue()

    def talk(connection: ServerConnection) -> None:
        connection.send(iter(["one ", "two ", "three"]))
        answered.put(connection.ping().wait(PATIENCE))
        connection.send([b"1", b"2"])

    with serving(talk) as server:
        async with await wswire.connect(server.url) as websocket:
            assert await websocket.receive() == "one two three"
            assert await websocket.receive() == b"12"
        assert answered.get(timeout=PATIENCE)


async def test_a_cancelled_receive_has_taken_nothing() -> None:
    """Again and again, while fragments come in."""

    def talk(connection: ServerConnection) -> None:
        for number in range(5):
            connection.send(iter([f"{number}", " ", "whole"]))

    with serving(talk) as server:
        async with await wswire.connect(server.url) as websocket:
            received: list[wswire.Message] = []
            while len(received) < 5:
                with bridgeio.move_on_after(0):
                    await websocket.receive()
                with bridgeio.CancelScope() as scope:
                    scope.deadline = bridgeio.current_time() + 0.0005
                    received.append(await websocket.receive())
    assert received == [f"{number} whole" for number in range(5)]


async def test_a_cancelled_send_has_sent_nothing() -> None:
    """A server that does not read stops the sender; once it reads it gets exactly what was sent."""
    go: Queue[None] = Queue()
    counted: Queue[int] = Queue()

    def count(connection: ServerConnection) -> None:
        go.get(timeout=PATIENCE)
        counted.put(sum(len(message) == 100_000 for message in connection))

    sent = 0
    with serving(count, max_queue=1) as server:
        async with await wswire.connect(server.url, compress=False) as websocket:
            with bridgeio.CancelScope() as stuck:
                while True:
                    stuck.deadline = bridgeio.current_time() + 0.2
                    await websocket.send(bytes(100_000))
                    sent += 1
            go.put(None)
        assert stuck.cancelled_caught
        assert counted.get(timeout=PATIENCE) == sent > 0


@pytest.mark.parametrize(("code", "is_normal"), [(1000, True), (1001, True), (1011, False), (4000, False)])
async def test_the_servers_goodbye(code: int, is_normal: bool) -> None:
    """A normal one ends the iteration, another is an error with its code and its words; what came before is heard."""

    def leave(connection: ServerConnection) -> None:
        connection.send("last words")
        connection.close(code, "bye")

    with serving(leave) as server:
        async with await wswire.connect(server.url) as websocket:
            assert await websocket.receive() == "last words"
            with pytest.raises(wswire.ConnectionClosedError, match=f"{code} bye") as raised:
                await websocket.receive()
            assert raised.value.is_normal is is_normal
            with pytest.raises(wswire.ConnectionClosedError, match=f"{code} bye"):
                await websocket.send("too late")
            if is_normal:
                with pytest.raises(StopAsyncIteration):
                    await anext(websocket)


async def test_closing_while_another_task_receives() -> None:
    """The task that receives sees the end; the server has heard the goodbye with its code."""
    ended: list[str] = []

    async def listen(websocket: wswire.WebSocket) -> None:
        async for message in websocket:
            ended.append(str(message))
        ended.append("end")

    with serving(echo) as server:
        async with await wswire.connect(server.url) as websocket, bridgeio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(listen, websocket)
            await websocket.send("hello")
            await until(lambda: ended)
            await websocket.close(1001, "enough")
        assert ended == ["hello", *["end"] * 3]
        assert server.codes.get(timeout=PATIENCE) == 1001


async def test_a_cancelled_block_says_goodbye() -> None:
    """In a cancelled scope too, and within its time: the server is told."""
    with serving(echo) as server:
        with bridgeio.CancelScope() as scope:
            async with await wswire.connect(server.url) as websocket:
                scope.cancel()
                await websocket.receive()
        assert scope.cancelled_caught
        assert server.codes.get(timeout=PATIENCE) == 1001


async def test_what_is_too_large() -> None:
    """The server's is refused with 1009 as soon as that is known, one's own is not sent at all."""

    def boast(connection: ServerConnection) -> None:
        connection.recv(PATIENCE)
        connection.send(b"x" * 1001)

    limits = wswire.Limits(max_size=1000)
    with serving(boast) as server:
        async with await wswire.connect(server.url, limits) as websocket:
            with pytest.raises(ValueError, match="1002 bytes is larger than max_size=1000"):
                await websocket.send("é" * 501)
            await websocket.send("é" * 500)
            with pytest.raises(wswire.ConnectionClosedError, match="1009 a message of more than 1000"):
                await websocket.receive()
        assert server.codes.get(timeout=PATIENCE) == 1009
    with pytest.raises(ValueError, match="an outbox of 10 bytes is too small"):
        wswire.Limits(outbox=10)


async def test_no_websocket_comes_about() -> None:
    """The status of the server's refusal and its words, another protocol, another kind of URL; nothing stays open."""

    def refuse(connection: ServerConnection, request: object) -> Any:
        return connection.respond(HTTPStatus.FORBIDDEN, "not you\n")

    gone: list[bytes] = []

    async def say_nonsense(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await reader.readline()
        writer.write(b"220 smtp.example ready\r\n\r\n")
        gone.append(await reader.read())

    with serving(echo, process_request=refuse) as server:
        with pytest.raises(wswire.HandshakeError, match="403: not you") as raised:
            await wswire.connect(server.url)
        assert raised.value.status == 403
    async with unchanged(), bridgeio.serve(say_nonsense, "127.0.0.1") as other:
        with pytest.raises(wswire.HandshakeError, match="is none to a WebSocket's request"):
            await wswire.connect(f"ws://127.0.0.1:{other.port}/")
        await until(lambda: gone or not other.connections)
    for url in ("http://localhost/", "ws:///path"):
        with pytest.raises(ValueError, match="they begin with ws:// or wss:// and a host"):
            await wswire.connect(url)


async def test_a_connection_that_breaks() -> None:
    """An end without a goodbye is an error, also for the iteration."""

    async def vanish(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await (await wswire.Handshake.receive(reader, writer)).accept().send("hello")

    async with (
        unchanged(),
        bridgeio.serve(vanish, "127.0.0.1") as server,
        await wswire.connect(f"ws://127.0.0.1:{server.port}/") as websocket,
    ):
        assert await websocket.receive() == "hello"
        with pytest.raises(wswire.ConnectionClosedError, match="1006 the connection ended without a goodbye"):
            await anext(websocket)


def test_from_synchronous_code(backend: str) -> None:
    """The same client without a loop."""
    with serving(echo) as server:
        websocket = bridgeio.blocking(wswire.connect)(server.url)
        bridgeio.blocking(websocket.send)("hello")
        assert bridgeio.blocking(websocket.receive)() == "hello"
        bridgeio.blocking(websocket.close)()
        assert server.codes.get(timeout=PATIENCE) == 1000
