"""The HTTP server of the examples behind nginx, and with curl and wrk as its clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bridgeio
from http11 import handler
from http_server import app
from needs import program
from nginx import free_port, nginx
from programs import EXAMPLES, PATIENCE, talk

pytestmark = pytest.mark.bridgeio

SERVER = EXAMPLES / "http" / "http_server.py"
BODY = bytes(range(256)) * 2000


@pytest.fixture
def http(servers: Any, backend: str) -> str:
    """The URL of the server on this test's backend."""
    return f"http://127.0.0.1:{servers(SERVER, ('--backend', backend)).port}"


def curl(*arguments: str, said: bytes = b"") -> bytes:
    """What curl prints; it fails the test if curl does not succeed."""
    return talk([program("curl"), "--silent", "--show-error", "--noproxy", "*", *arguments], said)


def test_curl_keeps_its_connection(http: str) -> None:
    """Pages, also only their heads, and what is not there, by one connection."""
    written = ("--write-out", "%{http_code} %{num_connects}\n")
    pages = (f"{http}/", f"{http}/numbers/3", f"{http}/nowhere")
    assert curl(*written, *pages).split(b"\n") == [
        *(b"hello, world", b"200 1"),
        *(b"1", b"2", b"3", b"200 0"),
        *(b"404 Not Found", b"there is no /nowhere", b"404 0", b""),
    ]
    heads = curl("--head", *written, *pages).split(b"\r\n\r\n")
    assert [head.partition(b"HTTP/1.1 ")[0] for head in heads[1:]] == [b"200 1\n", b"200 0\n", b"404 0\n"]


def test_curl_uploads_in_chunks(http: str) -> None:
    """An upload whose length nobody knows comes back while it goes."""
    chunked = ("--header", "Transfer-Encoding: chunked", "--data-binary", "@-")
    assert curl(*chunked, f"{http}/echo", said=BODY) == BODY
    assert curl(*chunked, f"{http}/count", said=BODY) == b"512000 bytes\n"


def test_curl_waits_to_be_asked(http: str) -> None:
    """It holds the body back until it hears that it is wanted, and sends none that is not."""
    patient = ("--header", "Expect: 100-continue", "--expect100-timeout", str(PATIENCE), "--data-binary", "@-")
    asked = ("--write-out", "%{size_upload}\n")
    assert curl(*patient, *asked, f"{http}/count", said=BODY) == b"512000 bytes\n512000\n"
    assert curl(*patient, *asked, f"{http}/nowhere", said=BODY).endswith(b"\n0\n")


def test_curl_over_tls(servers: Any, backend: str, papers: Path) -> None:
    """The same under ``https``, on one connection that curl has verified."""
    port = servers(SERVER, ("--backend", backend, "--certificate", str(papers / "localhost.pem"))).port
    trusting = ("--cacert", str(papers / "authority.pem"), "--resolve", f"localhost:{port}:127.0.0.1")
    url = f"https://localhost:{port}"
    assert curl(*trusting, "--data-binary", "@-", f"{url}/echo", said=BODY) == BODY
    twice = curl(*trusting, "--write-out", "%{num_connects}\n", f"{url}/", f"{url}/")
    assert twice == b"hello, world\n1\nhello, world\n0\n"


def test_wrk(http: str) -> None:
    """Under load there is not one error: no connection breaks, and no answer is anything but 200."""
    report = talk([program("wrk"), "--threads=1", "--connections=16", "--duration=1", f"{http}/"], b"").decode()
    assert "requests in" in report
    assert "errors" not in report
    assert "Non-2xx" not in report


PROXY = """
    upstream ours {{ server 127.0.0.1:{ours}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://ours; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_request_buffering off;
        }}
    }}
"""


async def test_nginx_in_front(tmp_path: Path) -> None:
    """nginx passes requests on to us, uploads while they come, all by one connection that it keeps."""
    connections = 0
    ours = handler(app)

    async def counted(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        nonlocal connections
        connections += 1
        await ours(reader, writer)

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with (
        bridgeio.serve(counted, "127.0.0.1") as server,
        nginx(tmp_path, port, PROXY.format(port=port, ours=server.port)),
    ):
        await curl_beside(f"{url}/", expected=b"hello, world\n")
        chunked = ("--header", "Transfer-Encoding: chunked", "--data-binary", "@-")
        await curl_beside(*chunked, f"{url}/count", said=BODY, expected=b"512000 bytes\n")
        await curl_beside("--data-binary", "@-", f"{url}/count", said=BODY, expected=b"512000 bytes\n")
        await curl_beside(f"{url}/numbers/3", expected=b"1\n2\n3\n")
        await curl_beside(*chunked, f"{url}/echo", said=BODY, expected=BODY)
    assert connections == 1


async def curl_beside(*arguments: str, said: bytes = b"", expected: bytes) -> None:
    """curl with a server in this process."""
    command = [program("curl"), "--silent", "--show-error", "--noproxy", "*", *arguments]
    with bridgeio.fail_after(PATIENCE):
        done = await bridgeio.run_process(command, input=said)
    assert done.stdout == expected
