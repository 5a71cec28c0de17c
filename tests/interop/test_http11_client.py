"""The HTTP client of the examples: with nginx as its server, and with some that do not keep their word."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h11
import pytest

import bridgeio
from bridgeio.testing.peers import Peer, RawListener, is_over, peer_stream
from bridgeio.testing.resources import until
from http11 import Client, DisconnectedError, Headers, Limits, ProtocolError, StalledError, TooLargeError
from http11.wire import Wire
from nginx import free_port, free_ports, nginx

pytestmark = pytest.mark.bridgeio

ORIGIN = """
    server {{
        listen 127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl; keepalive_requests 4;
        ssl_certificate {papers}/localhost.pem; ssl_certificate_key {papers}/localhost.pem;
        location /used {{ return 200 $connection_requests; }}
        location /name {{ return 200 $request_method$arg_a; }}
        location / {{ root {folder}; dav_methods PUT; client_max_body_size 10m; }}
    }}
"""


@pytest.fixture
def trusting(papers: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(papers / "authority.pem"))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_nginx(scheme: str, papers: Path, tmp_path: Path, trusting: ssl.SSLContext) -> None:
    """Uploads and downloads while they come, over a connection that is used again until nginx closes it."""
    port, secure = free_ports(2)
    url = f"https://localhost:{secure}" if scheme == "https" else f"http://localhost:{port}"
    config = ORIGIN.format(port=port, secure=secure, papers=papers, folder=tmp_path)
    async with nginx(tmp_path, port, config), Client(ssl=trusting) as client:
        assert (await client.request("PUT", f"{url}/file", body=_parts())).status == 201
        async with client.open("GET", f"{url}/file") as response:
            assert response.headers.get("Content-Length") == "1000000"
            assert sum([len(part) async for part in response.parts()]) == 1_000_000
        response = await client.request("HEAD", f"{url}/file")
        assert (response.headers.get("content-length"), response.body) == ("1000000", b"")
        used = [await client.request("GET", f"{url}/used") for _ in range(3)]
        assert [(part.body, part.headers.get("connection")) for part in used] == [
            (b"4", "close"),
            (b"1", "keep-alive"),
            (b"2", "keep-alive"),
        ]
        assert (await client.request("GET", f"{url}/name?a=1#fragment")).body == b"GET1"


async def _parts() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield bytes(10_000)


async def test_who_cannot_be_trusted(papers: Path, tmp_path: Path, trusting: ssl.SSLContext) -> None:
    """Neither an authority that nobody knows, nor a certificate for another name."""
    port, secure = free_ports(2)
    config = ORIGIN.format(port=port, secure=secure, papers=papers, folder=tmp_path)
    async with nginx(tmp_path, port, config):
        for context, name in ((None, "localhost"), (trusting, "127.0.0.1")):
            async with Client(ssl=context) as client:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await client.request("GET", f"https://{name}:{secure}/")


Server = Callable[[Peer], Awaitable[object]]


@asynccontextmanager
async def answering(*servers: Server, **limits: Any) -> AsyncIterator[tuple[Client, str]]:
    """A client, and the URL of a server that treats each connection in its own way."""
    with RawListener() as listener:

        async def serve() -> None:
            for server in servers:
                with await listener.accept() as peer:
                    await server(peer)

        async with bridgeio.create_task_group() as group:
            group.start_soon(serve)
            async with Client(limits=Limits(**limits)) as client:
                yield client, f"http://127.0.0.1:{listener.port}/"
            group.cancel_scope.cancel()


async def request_to(peer: Peer) -> bytes:
    """The head of a request without a body, or of one that will be looked at no further."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and (byte := await peer.receive(1)):
        head += byte
    return head


def says(*answers: bytes) -> Server:
    """Gives so many answers and hangs up; nobody can say whether it has read what came then."""

    async def server(peer: Peer) -> None:
        for answer in answers:
            await request_to(peer)
            peer.send(answer)

    return server


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def says_and_reads(answer: bytes) -> Server:
    """Takes one more request, and hangs up without an answer."""

    async def server(peer: Peer) -> None:
        await says(answer)(peer)
        await request_to(peer)

    return server


async def test_a_server_that_hangs_up_on_an_idle_connection() -> None:
    """A request that it has met on its way is sent again, if that does no harm; else it is an error that says so."""
    async with answering(says_and_reads(OK + b"ab"), says_and_reads(OK + b"cd")) as (client, url):
        assert (await client.request("GET", url)).body == b"ab"
        assert (await client.request("GET", url)).body == b"cd"
        with pytest.raises(DisconnectedError, match="has hung up"):
            await client.request("POST", url, body=b"once")


async def test_a_server_that_says_that_it_has_hung_up() -> None:
    """After a 408 on a connection that was used before, everything may be sent again."""
    async with answering(says(OK + b"ab", LATE), says(OK + b"cd")) as (client, url):
        assert (await client.request("GET", url)).body == b"ab"
        assert (await client.request("POST", url, body=b"once")).body == b"cd"


async def test_a_connection_on_which_something_has_come() -> None:
    """It is not used again: what comes unasked is a goodbye, and its server has hung up."""
    used: list[bytes] = []

    async def server(peer: Peer) -> None:
        await says(OK + b"ab" + LATE)(peer)
        used.append(await request_to(peer))

    async with answering(server, says(OK + b"cd")) as (client, url):
        assert (await client.request("GET", url)).body == b"ab"
        assert (await client.request("POST", url, body=b"once")).body == b"cd"
    assert used == [b""]


@pytest.mark.parametrize("end", [Peer.half_close, Peer.reset, partial(Peer.send, data=LATE)], ids=["fin", "rst", "408"])
async def test_whether_something_has_come(end: Callable[[Peer], object]) -> None:
    """That is seen without taking anything from the stream."""
    async with peer_stream() as (reader, writer, peer):
        wire = Wire(h11.CLIENT, reader, writer, Limits(), "the peer")
        assert wire.is_quiet()
        end(peer)
        await until(lambda: not wire.is_quiet())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"", DisconnectedError, "has hung up"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError, "illegal status line"),
        (OK + b"a", ProtocolError, "received 1 bytes, expected 2"),
        (CHUNKS + b"2\r\nab\r\n", ProtocolError, "without sending complete"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(100), TooLargeError, "more than 50 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + bytes(50).replace(b"\0", b"x"), ProtocolError, "closed connection"),
    ],
    ids=["nothing", "ssh", "short", "chunks", "large", "half a head"],
)
async def test_a_bad_answer(answer: bytes, error: type[Exception], words: str) -> None:
    """It is an error that says what is wrong with it, and whose it is."""
    async with answering(says(answer)) as (client, url):
        with pytest.raises(error, match=words):
            await client.request("GET", url, limit=50)


async def test_a_server_that_does_not_answer() -> None:
    """It is given up in time, and so is one whose answer stands still."""

    async def half(peer: Peer) -> None:
        peer.send(OK + b"a")
        await is_over(peer)

    for server in (is_over, half):
        async with answering(server, stall=0.05) as (client, url):
            with pytest.raises(StalledError, match=r"nothing has moved for 0\.05 s"):
                await client.request("GET", url)


async def test_nobody_listens() -> None:
    """The error says so, and with whom."""
    port = free_port()
    async with Client() as client:
        with pytest.raises(DisconnectedError, match=str(port)):
            await client.request("GET", f"http://127.0.0.1:{port}/")


async def test_a_server_that_refuses_an_upload() -> None:
    """What it said before it hung up is heard, although the body could not be sent."""

    async def refuse(peer: Peer) -> None:
        await request_to(peer)
        peer.send(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        peer.close()  # with what came unread: a reset

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    async with answering(refuse) as (client, url):
        assert (await client.request("POST", url, body=endless())).status == 413


async def test_what_cannot_be_asked() -> None:
    """URLs that are none, and headers that would be two, are errors before anything is sent."""

    async def server(peer: Peer) -> None:
        assert await peer.sees_reset()

    async with answering(server) as (client, url):
        for wrong in ("ftp://127.0.0.1/", "http:///path", "http://user@127.0.0.1/", "/path"):
            with pytest.raises(ValueError, match="a URL is"):
                await client.request("GET", wrong)
        with pytest.raises(ValueError, match="Illegal header value"):
            await client.request("GET", url, headers=[("X", "a\r\nHost: b")])


async def test_a_client_whose_block_is_left() -> None:
    """It keeps no connection, also none that was in use then, and makes no request any more."""
    ended = bridgeio.Event()

    async def server(peer: Peer) -> None:
        await says(OK + b"ab")(peer)
        assert await peer.receive_all() == b""
        ended.set()

    async with answering(server) as (client, url):
        async with client.open("GET", url) as response:
            assert await response.read() == b"ab"
            await client.__aexit__(None, None, None)
        await ended.wait()
        with pytest.raises(RuntimeError, match="was left"):
            await client.request("GET", url)


async def test_a_response_that_is_left() -> None:
    """Its connection is closed, unless all of it has come: who is next does not read its rest."""
    ended = bridgeio.Event()

    async def endless(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nab")
        await request_to(peer)
        assert await peer.receive_all() == b""
        ended.set()

    async with answering(endless, says(OK + b"cd")) as (client, url):
        async with client.open("GET", url) as response:
            async for part in response.parts():
                assert part == b"ab"
                break
        await ended.wait()
        assert (await client.request("GET", url)).body == b"cd"


def test_headers_are_found_in_any_case() -> None:
    """The first of a name counts; what is not Latin-1 is refused."""
    headers = Headers([("Name", "value"), ("name", "other")])
    assert headers.get("NAME") == "value"
    assert "nAME" in headers
    assert headers.get("none", "default") == "default"
    with pytest.raises(ValueError):
        Headers([("Name", "€")])
