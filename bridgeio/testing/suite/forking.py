"""Chapter: forking. A child process owns none of its parent's streams, and cannot break them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridgeio.testing.programs import run_program

pytestmark = pytest.mark.bridgeio


def test_a_forked_child_does_not_disturb_its_parent(backend: str, backend_options: dict[str, Any]) -> None:
    """A stream used in a child is an error that says why; the parent's go on as if nothing had been."""
    assert run_program(_FORKING, backend, **backend_options) == "child: refused\nparent: alive\n"


def test_a_forked_child_and_datagrams(backend: str, backend_options: dict[str, Any], socket_folder: Path) -> None:
    """A datagram socket used in a child is an error, too; closed there, it leaves the parent its path, and lives on."""
    path = str(socket_folder / "s")
    program = _DATAGRAMS.replace("PATH", repr(path))
    assert run_program(program, backend, **backend_options) == "child: refused\nparent: alive\n"


_DATAGRAMS = """
import os, socket, warnings
warnings.simplefilter("ignore")  # Python's, about forks in processes with threads

def use_in_child(sock):
    try:
        sock._source.send_now(b"the child's", PATH)
    except bridgeio.StreamClosedError:
        print("child: refused", flush=True)
    sock.close()
    os._exit(0)

async def main():
    async with await bridgeio.create_unix_datagram_socket(local_path=PATH) as sock:
        child = os.fork()
        if child == 0:
            use_in_child(sock)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            await bridgeio.sleep(0.001)
        for number in range(3):
            await sock.sendto(b"%d" % number, PATH)
            assert await sock.receive() == (b"%d" % number, PATH)
    print("parent: alive")

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""

_FORKING = """
import os, warnings
warnings.simplefilter("ignore")  # Python's, about forks in processes with threads

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)

def use_in_child(writer):
    try:
        writer.write(b"the child's")
    except bridgeio.StreamClosedError:
        print("child: refused", flush=True)
    os._exit(0)

async def main():
    async with bridgeio.serve(echo, "127.0.0.1") as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        async with writer:
            writer.write(b"before\\n")
            assert await reader.readline() == b"before\\n"
            child = os.fork()
            if child == 0:
                use_in_child(writer)
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                await bridgeio.sleep(0.001)
            for _ in range(3):
                writer.write(b"after\\n")
                assert await reader.readline() == b"after\\n"
    print("parent: alive")

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""

__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
