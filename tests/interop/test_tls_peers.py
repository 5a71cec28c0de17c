"""TLS with programs that know nothing of bridgeio, as clients of our server and as servers of our client."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import raw_socket
from bridgeio.testing.resources import until
from needs import program
from nginx import free_port, nginx
from programs import PATIENCE, python, talk

pytestmark = pytest.mark.bridgeio

PEERS = Path(__file__).parent / "peers"
LINES = b"".join([b"hello\n\n", b"x" * 60_000 + b"\n", *(b"%d\n" % number for number in range(500))])


@pytest.fixture
def tls_port(servers: Any, papers: Path, backend: str) -> int:
    """The port of our server on this test's backend."""
    port: int = servers(PEERS / "tls_server.py", (backend, str(papers / "localhost.pem"))).port
    return port


def _s_client(port: int, papers: Path, *options: str) -> list[str]:
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-quiet"]
    return [*command, "-CAfile", str(papers / "authority.pem"), "-verify_return_error", *options]


# Clients of ours


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_client(tls_port: int, papers: Path, version: str) -> None:
    """``openssl s_client`` trusts us, and gets back every line."""
    with _talking(_s_client(tls_port, papers, version), errors=subprocess.DEVNULL) as (tell, listen):
        tell(LINES)
        received = bytearray()
        while len(received) < len(LINES):
            received += listen()
        assert received == LINES


@contextmanager
def _talking(command: list[str], errors: int = subprocess.STDOUT) -> Iterator[Any]:
    """A client whose input stays open while what it says is read line by line."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        say, answers = process.stdin, process.stdout

        def tell(said: bytes) -> None:
            say.write(said)
            say.flush()

        try:
            yield tell, answers.readline
        finally:
            process.kill()


def test_a_client_that_updates_its_keys(tls_port: int, papers: Path) -> None:
    """New keys in the middle of a TLS 1.3 connection, asked for by the client with an answer and without."""
    command = [part for part in _s_client(tls_port, papers, "-tls1_3", "-brief") if part != "-quiet"]
    with _talking(command) as (tell, listen):
        for word in (b"before\n", b"k\n", b"between\n", b"K\n", b"after\n"):
            tell(word)
            answer = b"KEYUPDATE\n" if len(word) == 2 else word
            while (said := listen()) != answer:
                assert said, "the client has ended"


def test_a_client_that_renegotiates(tls_port: int, papers: Path) -> None:
    """It is refused and told so, as TLS 1.2 allows, and the server serves the next."""
    command = [part for part in _s_client(tls_port, papers, "-tls1_2", "-brief") if part != "-quiet"]
    with _talking(command) as (tell, listen):
        tell(b"R\n")
        while b"no renegotiation" not in (said := listen()):
            assert said, "the client has ended"
    test_the_ssl_module(tls_port, papers)


def test_curl(tls_port: int, papers: Path) -> None:
    """``curl`` verifies us, and gets the whole page."""
    command = [program("curl"), "--silent", "--show-error", "--cacert", str(papers / "authority.pem")]
    url = f"https://localhost:{tls_port}/"
    assert talk([*command, "--resolve", f"localhost:{tls_port}:127.0.0.1", url], b"") == b"x" * 100_000


def test_the_ssl_module(tls_port: int, papers: Path) -> None:
    """The standard library's own way, which blocks, as a client."""
    command = python(PEERS / "tls_client.py", str(tls_port), str(papers / "authority.pem"))
    assert talk(command, LINES) == LINES


# Servers for ours


@contextmanager
def _serving(command: list[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


async def _until_it_listens(port: int) -> None:
    def answers() -> bool:
        with raw_socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    with bridgeio.fail_after(PATIENCE):
        await until(answers)


async def _get(port: int, papers: Path, **options: Any) -> bytes:
    """A page, up to the end of the connection."""
    context = ssl.create_default_context(cafile=str(papers / "authority.pem"))
    reader, writer = await bridgeio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost", **options
    )
    async with writer:
        writer.write(b"GET /page HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return await reader.read()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_s_server(papers: Path, version: str) -> None:
    """``openssl s_server -www`` answers with a page about the connection, and closes in order."""
    port = free_port()
    command = [program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-quiet", version]
    with _serving([*command, "-cert", str(papers / "localhost.pem")]):
        await _until_it_listens(port)
        page = await _get(port, papers, standard_compatible=False)
    assert b"HTTP/1.0 200 ok" in page
    assert version.replace("-tls1_", "TLSv1.").encode() in page


NGINX = """
    server {{
        listen 127.0.0.1:{port} ssl; ssl_certificate {papers}/localhost.pem; ssl_certificate_key {papers}/localhost.pem;
        location /page {{ return 200 "{text}"; }}
        location / {{ proxy_pass https://127.0.0.1:{ours}; proxy_ssl_verify on; proxy_ssl_name localhost;
                      proxy_ssl_trusted_certificate {papers}/authority.pem; }}
    }}
"""


async def test_nginx(papers: Path, tmp_path: Path, tls_port: int) -> None:
    """nginx as a server of our client; and between ``curl`` and our server, whose certificate it verifies."""
    port, text = free_port(), "y" * 3000
    async with nginx(tmp_path, port, NGINX.format(port=port, papers=papers, text=text, ours=tls_port)):
        page = await _get(port, papers, standard_compatible=False)
        assert page.partition(b"\r\n\r\n")[2] == text.encode()
        command = [program("curl"), "--silent", "--cacert", str(papers / "authority.pem")]
        url = f"https://localhost:{port}/ours"
        assert talk([*command, "--resolve", f"localhost:{port}:127.0.0.1", url], b"") == b"x" * 100_000


async def test_a_server_of_the_ssl_module(papers: Path) -> None:
    """The standard library's own way, which blocks, as a server: it sees us close in order."""
    with _serving_one(papers) as (port, process):
        context = ssl.create_default_context(cafile=str(papers / "authority.pem"))
        reader, writer = await bridgeio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        async with writer:
            writer.write(LINES)
            assert await reader.readexactly(len(LINES)) == LINES
        await until(lambda: process.poll() is not None)
        assert process.returncode == 0


@contextmanager
def _serving_one(papers: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    command = python(PEERS / "tls_one_client.py", str(papers / "localhost.pem"))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()
