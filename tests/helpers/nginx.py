"""nginx beside a test: with a configuration of the test's own, in a folder of its own, as whoever runs the test."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import bridgeio
from bridgeio.testing.resources import until
from needs import program
from programs import PATIENCE

__all__ = ["free_port", "free_ports", "nginx"]

MAIN = """
daemon off; error_log {folder}/errors error; pid {folder}/pid; worker_processes 1; {user}
events {{ }}
http {{
    access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    {rest}
}}
"""


@asynccontextmanager
async def nginx(folder: Path, port: int, rest: str) -> AsyncIterator[None]:
    """Runs while the block does; complains with it, if it has seen errors of a server behind it.

    :param port: one that it listens on, by which is seen when it does.
    :param rest: what stands inside the block ``http``.
    """
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker is nobody, who may not read the folder
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, rest=rest, user=user))
    with _running([program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]):
        with bridgeio.fail_after(PATIENCE):
            await until(lambda: _listens(port))
        yield
    complaints = (folder / "errors").read_text().splitlines()
    assert [line for line in complaints if "upstream" in line] == []


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    """Told to end and not killed: its worker would outlive it."""
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """So many different ones."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [sock.getsockname()[1] for sock in sockets]


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
