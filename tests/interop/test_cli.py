"""The command ``bridgeio``: ``demo``, ``serve`` and ``backends``, as a user meets them.

Whatever goes wrong is one line and an exit status: 1 if something failed, 2 if it was asked wrongly.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from io import BytesIO
from pathlib import Path
from select import select
from textwrap import dedent

import pytest

import bridgeio
from bridgeio.registry import is_installed
from programs import PATIENCE, connected, listening, receive

HANDLERS = """
import bridgeio

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()

async def polite(reader, writer):
    writer.write(await reader.readline())
    await bridgeio.current_server().closing.wait()
    writer.write(b"bye\\n")

async def stubborn(reader, writer):
    writer.write(await reader.readline())
    await bridgeio.current_server().closing.wait()
    writer.write(b"no\\n")
    await bridgeio.sleep_forever()

async def busy(reader, writer):
    writer.write(await reader.readline())
    while True:
        pass

def plain(reader, writer):
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command is given: a folder with a module of handlers."""
    (tmp_path / "handlers.py").write_text(HANDLERS)
    return tmp_path


def bridge(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Gives the command and waits for its end.

    :param before: what the process does first.
    """
    source = f"import sys\n{before}\nfrom bridgeio.cli import main\nsys.exit(main())"
    command = [sys.executable, "-c", source, *arguments]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bridgeio", *arguments]


def rows(printed: str) -> dict[str, str]:
    """The lines of a table by their first words."""
    return {line.split()[0]: line for line in printed.splitlines() if line and not line.startswith(" ")}


# demo


def test_demo(folder: Path) -> None:
    """Without a file it echoes the text that ships with bridgeio through every installed backend, and says so."""
    done = bridge("demo", cwd=folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    table = rows(done.stdout)
    for name in bridgeio.available_backends():
        assert table[name].split()[-2] == "yes"
    number = len(bridgeio.available_backends())
    assert done.stdout.splitlines()[-1] == f"{number} of {number} installed backends echoed every byte"


@pytest.mark.parametrize("text", [b"\n", b"no end", b"a\r\n\x00\xff" * 3000 + b"\n", b"x" * 200_000 + b"\ny\n"])
def test_demo_of_a_file(folder: Path, text: bytes) -> None:
    """Any file will do; the table tells how many bytes of it came back."""
    (folder / "file").write_bytes(text)
    done = bridge("demo", "file", "--connections", "2", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = len(BytesIO(text).readlines())
    table = rows(done.stdout)
    for name in bridgeio.available_backends():
        assert table[name].split()[-4:-1] == [str(lines), str(len(text)), "yes"]


def test_demo_without_a_framework(folder: Path) -> None:
    """A framework that is not installed is a row that says how to install it, and no failure."""
    done = bridge("demo", cwd=folder, before="sys.modules['trio'] = None")
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'pip install "bridgeio[trio]"' in rows(done.stdout)["trio"]


def test_demo_of_a_backend_that_fails(folder: Path) -> None:
    """A backend that does not echo is a row that says why, and the exit status is 1; the others run all the same."""
    done = bridge("demo", cwd=folder, env=with_broken_adapter(folder))
    assert (done.returncode, done.stderr) == (1, "")
    table = rows(done.stdout)
    assert table["broken"].split()[-2] == "NO"
    assert "RuntimeError: it does not load" in done.stdout
    assert table["asyncio"].split()[-2] == "yes"


@pytest.mark.parametrize(("file", "why"), [("nothing", "No such file"), ("empty", "empty"), (".", "directory")])
def test_demo_of_what_cannot_be_sent(folder: Path, file: str, why: str) -> None:
    """A file that cannot be read, or has nothing in it, is one line and status 2."""
    (folder / "empty").touch()
    assert why in complaint(bridge("demo", file, cwd=folder), 2)


# backends


def test_backends(folder: Path) -> None:
    """Every known backend has its line: its version, or how to install it; and what it does not promise."""
    done = bridge("backends", cwd=folder, before="sys.modules['gevent'] = None")
    assert (done.returncode, done.stderr) == (0, "")
    table = rows(done.stdout)
    assert set(table) == set(bridgeio.known_backends())
    assert 'not installed: pip install "bridgeio[gevent]"' in table["gevent"]
    assert "installed, asyncio 3." in table["asyncio"]
    if is_installed("twisted"):
        assert "does not promise parallel_runs: a process has one reactor" in done.stdout


def test_backends_with_a_broken_adapter(folder: Path) -> None:
    """A stranger's adapter that cannot be loaded is a line of its own, and hides none of the others."""
    done = bridge("backends", cwd=folder, env=with_broken_adapter(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert "it does not load" in rows(done.stdout)["broken"]
    assert set(rows(done.stdout)) == {*bridgeio.known_backends(), "broken"}


# serve


@pytest.mark.bridgeio
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_drains_at_a_signal(backend: str, folder: Path, number: signal.Signals) -> None:
    """A signal drains the server: a handler may finish, and the command ends with status 0."""
    serving = command("serve", "handlers:polite", "--backend", backend, "--host", "127.0.0.1")
    with listening(serving, folder) as server, connected(server.port) as client:
        client.sendall(b"hello\n")
        assert receive(client, 6) == b"hello\n"
        server.signal(number)
        assert receive(client, 100) == b"bye\n"
        assert (server.end(), server.rest()) == (0, "")


@pytest.mark.bridgeio
def test_a_second_signal_ends_serve_at_once(backend: str, folder: Path) -> None:
    """A second signal does not wait for the grace of a handler that will not end."""
    serving = command("serve", "handlers:stubborn", "--backend", backend, "--host", "127.0.0.1")
    with listening(serving, folder) as server, connected(server.port) as client:
        client.sendall(b"hello\n")
        assert receive(client, 6) == b"hello\n"
        server.signal(signal.SIGTERM)
        assert receive(client, 3) == b"no\n"
        server.signal(signal.SIGTERM)
        assert receive(client, 100) == b""
        assert (server.end(), server.rest()) == (0, "")


@pytest.mark.bridgeio
def test_a_third_signal_has_its_usual_effect(backend: str, folder: Path) -> None:
    """Even a handler that never gives way cannot keep the command alive: a third SIGTERM kills it."""
    serving = command("serve", "handlers:busy", "--backend", backend, "--host", "127.0.0.1")
    with listening(serving, folder) as server, connected(server.port) as client:
        client.sendall(b"hello\n")
        assert receive(client, 6) == b"hello\n"
        sent = 0
        while server.process.poll() is None:  # signals that come too fast are one
            server.signal(signal.SIGTERM)
            sent += 1
            with suppress(subprocess.TimeoutExpired):
                server.process.wait(0.05)
        assert (server.end(), sent >= 3) == (-signal.SIGTERM, True), server.rest()


@pytest.mark.bridgeio
def test_serve_on_a_unix_socket(backend: str, folder: Path) -> None:
    """``--unix`` listens on a path, whose file is gone in the end."""
    path = folder / "s"
    with listening(command("serve", "handlers:echo", "--backend", backend, "--unix", str(path)), folder) as server:
        with connected(str(path)) as client:
            client.sendall(b"hello\n")
            assert receive(client, 6) == b"hello\n"
        server.signal(signal.SIGTERM)
        assert (server.end(), server.rest()) == (0, "")
    assert not path.exists()


def test_serve_at_most_so_many(folder: Path) -> None:
    """With ``--max-connections`` the next client waits until one has gone."""
    serving = command("serve", "handlers:echo", "--host", "127.0.0.1", "--max-connections", "1")
    with ExitStack() as stack:
        server = stack.enter_context(listening(serving, folder))
        with connected(server.port) as first:
            first.sendall(b"first\n")
            assert receive(first, 6) == b"first\n"
            second = stack.enter_context(connected(server.port))
            second.sendall(b"second\n")
            for _ in range(50):
                first.sendall(b"again\n")
                assert receive(first, 6) == b"again\n"
            assert not select([second], [], [], 0)[0]
        assert receive(second, 7) == b"second\n"


WRONG = {
    "an unknown backend": (["handlers:echo", "--backend", "nonsense"], 2, "known: asyncio, uvloop, trio"),
    "no colon": (["handlers"], 2, "MODULE:HANDLER"),
    "no such module": (["nothing:echo"], 2, "cannot import nothing"),
    "no such handler": (["handlers:nothing"], 2, "handlers has no nothing"),
    "no async function": (["handlers:plain"], 2, "async def"),
    "no function": (["handlers:bridgeio"], 2, "async function"),
    "two places": (["handlers:echo", "--unix", "s", "--port", "1"], 2, "--unix"),
    "no such folder": (["handlers:echo", "--unix", "nothing/s"], 1, "nothing/s"),
    "a name that does not resolve": (["handlers:echo", "--host", "no.such.name.invalid"], 1, "no.such.name.invalid"),
    "an address of others": (["handlers:echo", "--host", "192.0.2.1"], 1, "192.0.2.1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_serve_that_cannot_begin(folder: Path, case: str) -> None:
    """What keeps a server from beginning is one line that names it."""
    arguments, status, why = WRONG[case]
    assert why in complaint(bridge("serve", *arguments, cwd=folder), status)


@pytest.mark.bridgeio
def test_serve_on_a_port_in_use(backend: str, folder: Path) -> None:
    """A port in use is one line with the port, on every backend, and status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = bridge("serve", "handlers:echo", "--backend", backend, "--host", "127.0.0.1", "--port", port, cwd=folder)
    assert port in complaint(done, 1)


def test_serve_without_the_framework(folder: Path) -> None:
    """A backend that is not installed is one line with the command that installs it."""
    done = bridge("serve", "handlers:echo", "--backend", "trio", cwd=folder, before="sys.modules['trio'] = None")
    assert 'pip install "bridgeio[trio]"' in complaint(done, 2)


@pytest.mark.parametrize(
    "arguments", [["--port", "x"], ["--port", "65536"], ["--max-connections", "0"], ["--nonsense"]], ids=" ".join
)
def test_options_that_make_no_sense(folder: Path, arguments: list[str]) -> None:
    """An option that makes no sense is refused with the usage, and status 2."""
    done = bridge("serve", "handlers:echo", *arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")
    assert "Traceback" not in done.stderr


def complaint(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one line that a command wrote when it failed."""
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr.startswith("bridgeio: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def with_broken_adapter(folder: Path) -> dict[str, str]:
    """An environment in which a stranger's adapter is installed that cannot be loaded."""
    (folder / "broken_adapter.py").write_text(
        dedent(
            """
            from bridgeio.contract import Adapter

            def load():
                raise RuntimeError("it does not load")

            ADAPTER = Adapter(name="broken", framework="Broken", requires=(), install="broken", load=load)
            """
        )
    )
    metadata = folder / "broken-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[bridgeio.adapters]\nbroken = broken_adapter:ADAPTER\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])}
