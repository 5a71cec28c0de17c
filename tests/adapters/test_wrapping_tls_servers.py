"""TLS on what a framework's own server accepts: ours by `serve_stream`, or the server's own under our handler."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, is_over
from bridgeio.testing.resources import until
from bridgeio.testing.tls_peers import NAME, client_context, server_context
from native_servers import SERVERS, TLS_SERVERS, shout
from needs import absent

GARBAGE = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""]


@pytest.mark.parametrize("name", [name for name in SERVERS if "unix" not in name.lower()])
def test_our_tls_on_what_another_server_accepts(name: str, socket_folder: Path) -> None:
    """Handshakes that succeed are served; those that fail, or never end, are told to ``on_error``, each once."""
    backend, serving = SERVERS[name]
    if backend not in bridgeio.available_backends():
        absent(f"{backend} is not installed")
    failures: list[Exception] = []
    told: list[Exception] = []
    serve = partial(
        bridgeio.serve_stream,
        shout,
        ssl=server_context(),
        handshake_timeout=0.5,
        on_error=lambda error, peer: failures.append(error),
    )

    async def main() -> None:
        with bridgeio.fail_after(25):
            async with serving(serve, socket_folder) as address:
                await _is_served(address)
                await _sends_garbage(address)
                with Peer.connect(address) as silent:
                    assert await is_over(silent)
                await until(lambda: len(failures) == len(GARBAGE) + 1)
                await _is_served(address)
                told.extend(failures)  # what the end of the run ends is not meant

    bridgeio.run(main, backend=backend)
    assert [error for error in told if "TLS handshake with" not in str(error)] == []
    assert [type(error) for error in told].count(ConnectionAbortedError) == 1


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted's endpoint does
@pytest.mark.parametrize("name", TLS_SERVERS)
def test_a_frameworks_own_tls_server(name: str, tmp_path: Path) -> None:
    """Its connections are served like any others, and those that never shake hands hurt nobody."""
    backend, serving = TLS_SERVERS[name]
    if backend not in bridgeio.available_backends():
        absent(f"{backend} is not installed")
    if backend == "twisted" and importlib.util.find_spec("OpenSSL") is None:
        absent("pyOpenSSL, which Twisted's own TLS needs, is not installed")

    async def main() -> None:
        with bridgeio.fail_after(25):
            serve = partial(bridgeio.serve_stream, shout, on_error=lambda *_: None)
            async with serving(serve, tmp_path, server_context()) as address:
                await _is_served(address)
                await _sends_garbage(address)
                await _is_served(address)

    bridgeio.run(main, backend=backend)


async def _is_served(address: Any) -> None:
    reader, writer = await bridgeio.open_connection(*address, ssl=client_context(), server_hostname=NAME)
    async with writer:
        writer.write(b"hello\n")
        assert await reader.readexactly(14) == b"welcome\nHELLO\n"


async def _sends_garbage(address: Any) -> None:
    for garbage in GARBAGE:
        with Peer.connect(address) as peer:
            peer.send(garbage)
            peer.half_close()
            assert await is_over(peer)
