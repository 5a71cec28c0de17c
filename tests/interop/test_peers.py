"""Programs and clients that know nothing of bridgeio, as peers of one echo server on every backend.

Each sends its lines, ends its side, and gets back every byte before the server ends the other one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from needs import absent, program
from programs import connected, python, receive, talk

pytestmark = pytest.mark.bridgeio

# Lines as people write them, an empty one, one that fills many segments, one that is no text, one without an end.
LINES = b"".join([b"hello\n\n", b"x" * 60_000 + b"\n", *(b"%d\n" % n for n in range(5000)), bytes(range(256)), b"-"])

PEERS = Path(__file__).parent / "peers"


def test_socat(echo_port: int) -> None:
    """``socat`` over TCP."""
    assert talk([program("socat"), "-t30", "-", f"TCP:127.0.0.1:{echo_port}"], LINES) == LINES


def test_socat_on_a_unix_socket(echo_path: str) -> None:
    """``socat`` over a UNIX socket."""
    assert talk([program("socat"), "-t30", "-", f"UNIX-CONNECT:{echo_path}"], LINES) == LINES


def test_netcat(echo_port: int) -> None:
    """``nc`` over TCP; -N has it end its side at the end of its input."""
    assert talk([program("nc"), "-N", "127.0.0.1", str(echo_port)], LINES) == LINES


def test_netcat_on_a_unix_socket(echo_path: str) -> None:
    """``nc`` over a UNIX socket."""
    assert talk([program("nc"), "-N", "-U", echo_path], LINES) == LINES


@pytest.mark.parametrize("framework", ["asyncio", "twisted", "gevent"])
def test_a_client_of_another_framework(echo_port: int, framework: str) -> None:
    """A client in each framework's own way, in a process of its own."""
    if importlib.util.find_spec(framework) is None:
        absent(f"{framework} is not installed")
    assert talk(python(PEERS / f"{framework}_client.py", str(echo_port)), LINES) == LINES


def test_one_line_at_a_time(echo_port: int) -> None:
    """Each line comes back as soon as it was sent, without waiting for more."""
    with connected(echo_port) as client:
        for line in LINES.splitlines(keepends=True)[:200]:
            client.sendall(line)
            assert receive(client, len(line)) == line
