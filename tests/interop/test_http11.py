"""The HTTP server of the examples, and peers that speak plainly, badly, or not at all."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, RawListener
from bridgeio.testing.resources import until
from http11 import App, Headers, HttpError, Limits, Request, Response, handler
from http_server import app

pytestmark = pytest.mark.bridgeio

LAST = b"Host: test\r\nConnection: close\r\n\r\n"
NEXT = b"Host: test\r\n\r\n"
LARGE = b"POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 90000\r\n\r\n"


@asynccontextmanager
async def serving(app: App = app, errors: list[Exception] | None = None, **limits: Any) -> AsyncIterator[Any]:
    """A server, and a raw peer that is connected to it. It fails the test unless errors are expected."""
    met: list[Exception] = []
    async with bridgeio.serve(
        handler(app, Limits(**limits)), "127.0.0.1", on_error=lambda error, peer: met.append(error)
    ) as server:
        with Peer.connect(server.addresses[0]) as peer:
            yield server, peer
    if errors is None:
        assert met == []
    else:
        errors += met


async def ask(peer: Peer, request: bytes) -> tuple[bytes, bytes]:
    """The head of the only answer to all that, and what follows it, up to the end of the stream."""
    await peer.send_all(request)
    head, _, body = (await peer.receive_all()).partition(b"\r\n\r\n")
    return head, body


async def answer(peer: Peer) -> tuple[bytes, bytes]:
    """The next answer, which tells its length."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await peer.receive(1)
        assert byte, f"the stream has ended after {head!r}"
        head += byte
    return head, await peer.receive(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))


async def test_pipelined_requests() -> None:
    """Three requests in one piece get their answers in order, on one connection."""
    async with serving() as (_, peer):
        peer.send(b"GET / HTTP/1.1\r\n" + NEXT)
        peer.send(b"POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        peer.send(b"GET /nowhere HTTP/1.1\r\n" + LAST)
        assert (await answer(peer))[1] == b"hello, world\n"
        assert (await answer(peer))[1] == b"3 bytes\n"
        assert (await answer(peer))[0].startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert await peer.receive_all() == b""


async def test_a_streamed_response_in_both_versions() -> None:
    """It is chunked in HTTP/1.1; in HTTP/1.0 it goes up to the end of the stream."""
    async with serving() as (server, peer):
        head, body = await ask(peer, b"GET /numbers/2 HTTP/1.1\r\n" + LAST)
        assert b"transfer-encoding: chunked" in head.lower()
        assert body == b"2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n"
        with Peer.connect(server.addresses[0]) as old:
            head, body = await ask(old, b"GET /numbers/2 HTTP/1.0\r\n\r\n")
            assert b"transfer-encoding" not in head.lower()
            assert body == b"1\n2\n"


async def test_bodies_flow_both_ways_at_once() -> None:
    """What an application sends back while it comes is there before the request is over."""
    async with serving() as (_, peer):
        peer.send(b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        received = b""
        while not received.endswith(b"\r\n\r\n4\r\nhalf\r\n"):
            received += await peer.receive(1)
        peer.send(b"4\r\nrest\r\n0\r\n\r\n")
        assert await peer.receive_all() == b"4\r\nrest\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"garbage\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # without Host
        (b"GET / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"x" * 100_000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"CONNECT test:443 HTTP/1.1\r\n" + NEXT, b"501"),
    ],
    ids=["garbage", "no host", "two lengths", "bad chunk", "large head", "encoding", "connect"],
)
async def test_a_bad_request(request_: bytes, status: bytes) -> None:
    """It is answered with what is wrong, the connection is closed, and what came behind it is not done."""
    async with serving() as (_, peer):
        head, body = await ask(peer, request_ + b"GET / HTTP/1.1\r\n" + NEXT)
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in head.lower()
    assert b"hello" not in body


async def test_a_client_that_leaves_in_the_middle() -> None:
    """Half a request and an end is a bad request, for a client that still listens."""
    async with serving() as (_, peer):
        peer.send(b"GET / HTT")
        peer.half_close()
        assert (await peer.receive_all()).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHo"], ids=["silent", "half"])
async def test_a_request_that_does_not_come(sent: bytes) -> None:
    """A client is told that it took too long, and hung up on."""
    async with serving(idle=0.05) as (_, peer):
        head, _ = await ask(peer, sent)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()


async def test_a_body_that_stands_still() -> None:
    """The same in the middle of a body."""
    async with serving(stall=0.05) as (_, peer):
        head, _ = await ask(peer, b"POST /count HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nab")
    assert head.startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_does_not_read() -> None:
    """It does not hold the server: its response is broken off by a reset."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    async def app(request: Request) -> Response:
        return Response(200, endless())

    async with serving(app, stall=0.05) as (server, peer):
        peer.send(b"GET / HTTP/1.1\r\n" + NEXT)
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)
        assert await peer.sees_reset()


async def test_the_last_words_are_not_lost() -> None:
    """A client that has sent more than is read gets its response all the same, and no reset."""
    async with serving(goodbye=60.0) as (server, peer):
        peer.send(b"GET /numbers/5 HTTP/1.1\r\n" + LAST)
        await peer.send_all(bytes(1_000_000))
        assert (await peer.receive_all()).endswith(b"0\r\n\r\n")
        peer.half_close()
        await until(lambda: server.connections == 0)
        assert peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


async def test_a_body_that_is_not_wanted() -> None:
    """A short one is passed over and the connection lives on; after a long one it is closed, and the head says so."""
    async with serving() as (_, peer):
        peer.send(b"POST /nowhere HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc")
        head, _ = await answer(peer)
        assert (head[:12], b"close" in head) == (b"HTTP/1.1 404", False)
        head, _ = await ask(peer, LARGE + bytes(70_000))
        assert head.startswith(b"HTTP/1.1 404 ")
        assert b"connection: close" in head.lower()


async def test_a_body_that_is_too_large() -> None:
    """An application that reads only so much answers 413."""

    async def app(request: Request) -> Response:
        return Response(200, await request.read(limit=10))

    async with serving(app, skip=0) as (_, peer):
        head, _ = await ask(peer, LARGE + bytes(90_000))
    assert head.startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_waits_to_be_asked() -> None:
    """100 Continue goes out when the body is read; where it is not wanted the answer comes at once, and closes."""
    async with serving() as (_, peer):
        expecting = b"Host: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        peer.send(b"POST /count HTTP/1.1\r\n" + expecting)
        continued = b"HTTP/1.1 100 \r\n\r\n"
        assert await peer.receive(len(continued)) == continued
        peer.send(b"abc")
        assert (await answer(peer))[1] == b"3 bytes\n"
        head, _ = await ask(peer, b"POST /nowhere HTTP/1.1\r\n" + expecting)
        assert head.startswith(b"HTTP/1.1 404 ")
        assert b"connection: close" in head.lower()


async def test_an_application_that_fails() -> None:
    """It is a 500 before the response has begun, and a reset after that; both are reported, and others are served."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise KeyError("streamed")

    async def app(request: Request) -> Response:
        if request.target == "/":
            raise KeyError("at once")
        if request.target == "/header":
            return Response(200, b"", Headers([("X", "a\r\nSet-Cookie: b")]))
        return Response(200, broken())

    errors: list[Exception] = []
    async with serving(app, errors) as (server, peer):
        for target in (b"/", b"/header"):
            with Peer.connect(server.addresses[0]) as second:
                head, body = await ask(second, b"GET " + target + b" HTTP/1.1\r\n" + NEXT)
            assert head.startswith(b"HTTP/1.1 500 ")
            assert body == b"500 Internal Server Error\n"
        peer.send(b"GET /stream HTTP/1.1\r\n" + NEXT)
        assert await peer.sees_reset()
    assert sorted(type(error).__name__ for error in errors) == ["KeyError", "KeyError", "ValueError"]


async def test_an_idle_client_of_a_server_that_closes() -> None:
    """It is told, for it may have sent a request just now."""
    async with serving(last_request=0.0) as (server, peer):
        peer.send(b"GET / HTTP/1.1\r\n" + NEXT)
        assert b"close" not in (await answer(peer))[0]
        async with bridgeio.create_task_group() as group:
            group.start_soon(server.close)
            head, _ = await ask(peer, b"")
            peer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()


async def test_a_request_to_a_server_that_closes() -> None:
    """Who sends one in time gets its response, which says that it was the last; the drain waits for that."""
    async with serving(last_request=60.0) as (server, peer):
        async with bridgeio.create_task_group() as group:
            group.start_soon(server.close)
            await server.closing.wait()
            head, body = await ask(peer, b"GET / HTTP/1.1\r\n" + NEXT)
            peer.close()
        assert (await server.close()).finished == 1
    assert b"connection: close" in head.lower()
    assert body == b"hello, world\n"


async def test_a_response_that_the_server_cannot_wait_for() -> None:
    """After the grace the application is cancelled, and its client gets a 503."""
    cancelled = bridgeio.Event()

    async def app(request: Request) -> Response:
        try:
            await bridgeio.sleep_forever()
        finally:
            cancelled.set()
        raise HttpError(500)

    async with serving(app) as (server, peer):
        peer.send(b"GET / HTTP/1.1\r\n" + NEXT)
        await until(lambda: server.connections == 1)
        report = await server.close(grace=0.05)
        assert (report.cancelled, cancelled.is_set()) == (1, True)
        assert (await peer.receive_all()).startswith(b"HTTP/1.1 503 ")


async def test_a_connection_that_another_kind_of_server_has_accepted() -> None:
    """Under `serve_stream` there is no server that could close, and everything else is as ever."""
    with RawListener() as listener, Peer.connect(listener.address) as peer:
        async with bridgeio.create_task_group() as group:
            accepted = await listener.accept()
            group.start_soon(bridgeio.serve_stream, handler(app), accepted.sock)
            _, body = await ask(peer, b"GET / HTTP/1.1\r\n" + LAST)
            peer.close()
    assert body == b"hello, world\n"
