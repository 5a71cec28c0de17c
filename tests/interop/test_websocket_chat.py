"""The chat server of the examples, on every backend; its members are the `websockets` library, and raw sockets."""

from __future__ import annotations

import http.client
import random
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer
from programs import EXAMPLES, PATIENCE, listening, python, receive
from raw_websockets import close_code, frame, raw_websocket, request

pytest.importorskip("websockets", reason="websockets is not installed: pip install 'bridgeio[test]'")
pytest.importorskip("wsproto", reason="wsproto is not installed: pip install 'bridgeio[test]'")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import chatroom
import wswire

pytestmark = pytest.mark.bridgeio

SERVER = EXAMPLES / "websocket_chat" / "chat_server.py"
CLIENT = EXAMPLES / "websocket_chat" / "chat_client.py"


@pytest.fixture
def port(servers: Any, backend: str) -> int:
    return int(servers(SERVER, ("--backend", backend)).port)


@pytest.fixture
def room() -> str:
    """A room that no other test uses."""
    return uuid.uuid4().hex


def member(port: int, room: str, name: str, *, compression: str | None = "deflate") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/{room}?name={name}", open_timeout=PATIENCE, compression=compression)


def heard(client: ClientConnection, count: int) -> list[str | bytes]:
    return [client.recv(PATIENCE) for _ in range(count)]


def closed(client: ClientConnection) -> ConnectionClosed:
    """How the server has ended it, once everything before was heard."""
    try:
        while True:
            client.recv(PATIENCE)
    except ConnectionClosed as error:
        return error


@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_conversation(port: int, room: str, compression: str | None) -> None:
    """Everybody hears who comes, what is said, in fragments too, and who goes; in this room, and in no other."""
    with member(port, room, "ann", compression=compression) as ann, member(port, room + "2", "eve") as eve:
        assert [extension.name for extension in ann.protocol.extensions] == ["permessage-deflate"] * bool(compression)
        with member(port, room, "bob") as bob:
            bob.send("hello")
            ann.send(["zwölf ", "Box", "", "kämpfer"])
            assert sorted(map(str, heard(bob, 3))) == ["* here: ann, bob", "ann: zwölf Boxkämpfer", "bob: hello"]
        said = ["* here: ann", "* bob has joined", "bob: hello", "ann: zwölf Boxkämpfer", "* bob has left"]
        assert sorted(map(str, heard(ann, 5))) == sorted(said)
        eve.send("alone?")
        assert heard(eve, 2) == ["* here: eve", "eve: alone?"]


def test_order(port: int, room: str) -> None:
    """All members hear the same messages in the same order, and each its own in the order in which it said them."""
    with member(port, room, "ann") as ann, member(port, room, "bob") as bob:
        assert heard(ann, 2) == ["* here: ann", "* bob has joined"]
        assert heard(bob, 1) == ["* here: ann, bob"]
        for number in range(50):
            ann.send(f"{number}")
            bob.send(f"{number}")
        by_ann, by_bob = heard(ann, 100), heard(bob, 100)
    assert by_ann == by_bob
    assert [text for text in by_ann if str(text).startswith("bob")] == [f"bob: {number}" for number in range(50)]


def test_pings_are_answered(port: int, room: str) -> None:
    """Also between the fragments of a message."""
    with member(port, room, "ann") as ann:
        assert ann.ping().wait(PATIENCE)
    with raw_websocket(port, f"/{room}?name=bob") as bob:
        assert receive(bob, 13) == b"\x81\x0b* here: bob"
        bob.sendall(frame(1, b"one ", flags=0) + frame(9, b"ping") + frame(0, b"two"))
        assert receive(bob, 6 + 14) == b"\x8a\x04ping" + b"\x81\x0cbob: one two"


def test_who_is_refused_is_told_why(port: int, room: str) -> None:
    """A name that is taken or missing, and a request that is none for a WebSocket, are answers of HTTP."""
    with member(port, room, "ann"), pytest.raises(InvalidStatus) as taken:
        member(port, room, "ann")
    assert (taken.value.response.status_code, taken.value.response.body) == (
        409,
        b"there is somebody called ann already\n",
    )
    with pytest.raises(InvalidStatus) as nameless:
        member(port, room, "")
    assert nameless.value.response.status_code == 400
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    plain.request("GET", "/")
    assert plain.getresponse().status == 400
    plain.close()


OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=many\r\n"


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01nonsense\r\n\r\n", request("/?name=ann", OFFER), b"GET / HT"])
async def test_a_bad_request_is_the_clients_affair(nonsense: bytes) -> None:
    """No WebSocket comes about, and the server has no error to report."""
    errors: list[Exception] = []
    handler = partial(chatroom.serve_member, chatroom.Rooms())
    async with bridgeio.serve(handler, "127.0.0.1", on_error=lambda error, peer: errors.append(error)) as server:
        with Peer.connect(server.addresses[0]) as client:
            client.send(nonsense)
            client.half_close()
            assert not (await client.receive_all()).startswith(b"HTTP/1.1 101")
    assert errors == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(1, b"x" * 10_000, flags=0) + frame(0, b"x" * 10_000), 1009),
        (frame(1, b"\xff"), 1007),
        (frame(1, b"unmasked", masked=False), 1002),
        (frame(0, b"continues nothing"), 1002),
        (frame(1, b"reserved", flags=0xF0), 1002),
        (frame(8, b"\x03\xe8bye"), 1000),
        (frame(8, b""), 0),
    ],
    ids=["too large", "no text", "unmasked", "fragment", "reserved", "goodbye", "goodbye without a code"],
)
def test_the_end_says_why(port: int, room: str, sent: bytes, code: int) -> None:
    """Who breaks the rules hears which, who says goodbye is answered, and the others hear that somebody has left."""
    with member(port, room, "ann") as ann:
        with raw_websocket(port, f"/{room}?name=bob") as bob:
            bob.sendall(sent + frame(1, b"and on it talks " * 60) * 300)
            said = b"".join(iter(partial(bob.recv, 4096), b""))
        assert close_code(said) == code
        assert said.endswith(b"\x88\x00") is (code == 0)
        assert heard(ann, 3) == ["* here: ann", "* bob has joined", "* bob has left"]


def test_a_compressed_bomb_is_refused(port: int, room: str) -> None:
    """What a few bytes grow to counts, not what came."""
    with member(port, room, "ann") as ann:
        ann.send("x" * 10_000_000)
        goodbye = closed(ann).rcvd
    assert goodbye is not None
    assert goodbye.code == 1009


def test_bytes_are_no_chat(port: int, room: str) -> None:
    """Who sends some hears that this room takes text only."""
    with member(port, room, "ann") as ann:
        ann.send(b"bytes")
        goodbye = closed(ann).rcvd
    assert goodbye is not None
    assert (goodbye.code, goodbye.reason) == (1003, "text only")


def test_a_slow_reader_stops_nobody(port: int, room: str) -> None:
    """The others go on; it is disconnected when its outbox is full, and they hear that it has left."""
    draw = random.Random(0)
    with member(port, room, "ann") as ann, raw_websocket(port, f"/{room}?name=slow", buffer=4096):
        assert heard(ann, 2) == ["* here: ann", "* slow has joined"]
        last: str | bytes = ""
        while last != "* slow has left":
            ann.send(draw.randbytes(6000).hex())
            last = ann.recv(PATIENCE)
        ann.send("still here")
        while last != "ann: still here":
            last = ann.recv(PATIENCE)


async def test_a_silent_member_is_given_up() -> None:
    """It is asked for a sign of life, and gives none: the room does not keep the dead."""
    rooms = chatroom.Rooms()
    limits = wswire.Limits(max_size=100, outbox=1000, ping_interval=0.05, ping_timeout=0.05)
    handler = partial(chatroom.serve_member, rooms, limits=limits)
    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as silent:
            silent.send(request("/lobby?name=ann"))
            said = await everything(silent)
            assert said.endswith(b"* here: ann\x89\x00")
    assert not rooms.has("lobby", "ann")


async def everything(peer: Peer) -> bytes:
    """Up to the reset of the connection."""
    said = bytearray()
    try:
        while data := await peer.receive_some(4096):
            said += data
    except ConnectionResetError:
        return bytes(said)
    raise AssertionError(f"an end in order, after {bytes(said)!r}")


def test_sigterm_says_goodbye(backend: str, room: str) -> None:
    """Each member hears that the server is closing, and the program ends well."""
    with listening(python(SERVER, "--backend", backend)) as server:
        with member(server.port, room, "ann") as ann, member(server.port, room, "bob") as bob:
            assert heard(ann, 2) == ["* here: ann", "* bob has joined"]
            server.signal(signal.SIGTERM)
            for client in (ann, bob):
                goodbye = closed(client).rcvd
                assert goodbye is not None
                assert (goodbye.code, goodbye.reason) == (1001, "the server is closing")
        assert (server.end(), server.rest()) == (0, "")


def test_the_program(backend: str, port: int, room: str) -> None:
    """Each line of its input is said, what is heard is printed, and it leaves at the end of the input."""
    command = python(CLIENT, "--backend", backend, f"ws://127.0.0.1:{port}/{room}?name=bob")
    with member(port, room, "ann") as ann, run(command) as bob:
        assert heard(ann, 2) == ["* here: ann", "* bob has joined"]
        assert bob.stdin is not None
        assert bob.stdout is not None
        ann.send("hello")
        assert [bob.stdout.readline() for _ in range(2)] == [b"* here: ann, bob\n", b"ann: hello\n"]
        bob.stdin.write(b"hello, ann\n")
        bob.stdin.flush()
        assert bob.stdout.readline() == b"bob: hello, ann\n"
        printed, _ = bob.communicate(timeout=PATIENCE)
        assert heard(ann, 3) == ["ann: hello", "bob: hello, ann", "* bob has left"]
        assert (bob.returncode, printed) == (0, b"")


@contextmanager
def run(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Kills what is left of it in the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        try:
            yield program
        finally:
            program.kill()
