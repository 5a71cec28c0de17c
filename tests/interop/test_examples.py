"""Every example runs as it stands, on every backend that it can be told to use."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from needs import package
from programs import EXAMPLES, connected, listening, python, receive, talk

PROGRAMS = [*sorted(EXAMPLES.glob("*.py")), *sorted(EXAMPLES.glob("*/[!_]*_*.py"))]

LONG = b"long" * 50_000 + b"\n"


@pytest.mark.bridgeio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_echo_streams(backend: str, number: signal.Signals) -> None:
    """The server echoes over TCP; a signal drains it, and it ends with status 0 without a word."""
    with listening(python(EXAMPLES / "echo_streams.py", "--backend", backend)) as server:
        with connected(server.port) as client:
            client.sendall(b"hello\n" + LONG[-6000:])
            assert receive(client, 6006) == b"hello\n" + LONG[-6000:]
        server.signal(number)
        assert (server.end(), server.rest()) == (0, "")


@pytest.mark.bridgeio
def test_echo_unix(backend: str, tmp_path: Path) -> None:
    """The same over a UNIX socket, whose file is gone in the end."""
    path = tmp_path / "s"
    with listening(python(EXAMPLES / "echo_unix.py", str(path), "--backend", backend)) as server:
        with connected(server.where) as client:
            client.sendall(b"hello\n" + LONG[-6000:])
            assert receive(client, 6006) == b"hello\n" + LONG[-6000:]
        server.signal(signal.SIGTERM)
        assert (server.end(), server.rest()) == (0, "")
    assert not path.exists()


def test_one_line_differs() -> None:
    """Moving to a UNIX socket takes one line: the one that serves. The coroutine is the same object."""
    streams, unix = ((EXAMPLES / name).read_text() for name in ("echo_streams.py", "echo_unix.py"))
    served = [line for line in (streams + unix).splitlines() if "run_server(" in line]
    assert [line.replace("options.host, options.port", "path=options.path") for line in served] == [served[1]] * 2
    assert "from echo_streams import echo_client" in unix


@pytest.mark.bridgeio
def test_echo_wc(backend: str) -> None:
    """Several clients at once get each their own count; one that is in the midst of it does not keep the server."""
    data = b"one two\nthree\n" * 30_000
    with listening(python(EXAMPLES / "echo_wc.py", "--backend", backend)) as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server.port)) for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(data * number)
            client.shutdown(socket.SHUT_WR)
        for number, client in enumerate(clients):
            counted = b"".join(iter(partial(client.recv, 4096), b""))
            assert counted.split() == [b"%d" % (count * 30_000 * number) for count in (2, 3, 14)]
        with connected(server.port) as client:
            client.sendall(data)
            server.signal(signal.SIGTERM)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(4096)
        assert (server.end(), server.rest()) == (0, "")


@pytest.mark.bridgeio
def test_echo_client(backend: str, servers: Any) -> None:
    """The client prints what an asyncio server sends back, word for word."""
    port = servers(EXAMPLES / "native" / "echo_asyncio.py", ()).where
    words = ["hello", "", "zwölf Boxkämpfer"]
    printed = talk(python(EXAMPLES / "echo_client.py", "--backend", backend, "--port", port, *words), b"")
    assert printed.decode().split("\n") == [*words, ""]


@pytest.mark.bridgeio
@pytest.mark.parametrize("workers", ["threads", "processes"])
def test_fibonacci(backend: str, workers: str) -> None:
    """Numbers come from the workers; while one computes for ever others are served, and the server still ends."""
    with (
        listening(python(EXAMPLES / "fibonacci.py", "--backend", backend, "--in", workers)) as server,
        connected(server.port) as first,
        connected(server.port) as second,
    ):
        first.sendall(b"20\n")
        assert receive(first, 5) == b"6765\n"
        first.sendall(b"100\n")
        second.sendall(b"ping\n")
        assert receive(second, 5) == b"pong\n"
        server.signal(signal.SIGTERM)
        assert (server.end(), server.rest()) == (0, "")


def test_echo_blocking_client(servers: Any) -> None:
    """The same in synchronous code."""
    port = servers(EXAMPLES / "native" / "echo_threads.py", ()).where
    assert (
        talk(python(EXAMPLES / "echo_blocking_client.py", "--port", port, "hello", "world"), b"") == b"hello\nworld\n"
    )


@pytest.mark.bridgeio
def test_echo_threads(backend: str, servers: Any) -> None:
    """A client on each backend gets its words back, while another thread waits for one that is silent."""
    server = servers(EXAMPLES / "echo_threads.py", ())
    with connected(server.port) as silent:
        words = ["hello", "", "zwölf Boxkämpfer"]
        printed = talk(python(EXAMPLES / "echo_client.py", "--backend", backend, "--port", server.where, *words), b"")
        assert printed.decode().split("\n") == [*words, ""]
        silent.sendall(LONG[-6000:])
        assert receive(silent, 6000) == LONG[-6000:]


def test_echo_threads_end() -> None:
    """Ctrl-C ends the server, though a thread waits for its client."""
    with listening(python(EXAMPLES / "echo_threads.py")) as server, connected(server.port) as client:
        client.sendall(b"hello\n")
        assert receive(client, 6) == b"hello\n"
        server.signal(signal.SIGINT)
        assert (server.end(), server.rest()) == (0, "")


@pytest.mark.parametrize("framework", ["asyncio", "gevent", "trio", "twisted"])
def test_embedding(framework: str) -> None:
    """In an application that runs already the server echoes while the application goes on, and Ctrl-C ends both.

    Twisted's reactor drains the server before it ends, and ends well; the others raise KeyboardInterrupt.
    """
    package(framework)
    with (
        listening(python(EXAMPLES / "embedding" / f"inside_{framework}.py")) as server,
        connected(server.port) as client,
    ):
        client.sendall(LONG[:5] + b"\n")
        assert receive(client, 6) == LONG[:5] + b"\n"
        assert server.line() == "1 s\n"
        client.sendall(b"again\n")
        assert receive(client, 6) == b"again\n"
        client.close()
        server.signal(signal.SIGINT)
        status, rest = server.end(), server.rest()
    assert status == 0 if framework == "twisted" else "KeyboardInterrupt" in rest, (status, rest)


@pytest.mark.parametrize(
    "example", sorted(EXAMPLES.glob("*.py")) + sorted(EXAMPLES.glob("*/[!_]*_*.py")), ids=os.path.basename
)
def test_help(example: Path) -> None:
    """Every example says what it is and which options it takes."""
    if example.stem.startswith("http_"):
        package("h11")
    said = talk(python(example, "--help"), b"").decode()
    assert said.startswith(f"usage: {example.name}")
    assert any(option in said for option in ("--port", "path", "--backend"))
