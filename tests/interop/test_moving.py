"""What the guides *Moving over* show: every server does the same, and every client can talk to every server."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from moving import (
    AFTER,
    CHECKS,
    CLIENT_AFTER,
    FRAMEWORKS,
    MOVING,
    PATCHED,
    Client,
    Lockers,
    check_idle,
    check_sigterm,
    is_there,
    lockers,
)
from needs import absent
from programs import PATIENCE, python

Start = Callable[..., Lockers]
Old = Callable[[str], Path]
Check = Callable[[int, int, int], None]

BACKEND_OF = {"asyncore": "asyncio"}
"""Where a guide's program ends up; a framework that is a backend stays what it is."""

STEPS = ("before", "between", "reverse")
OLD = [f"{name}/{step}" for name in FRAMEWORKS for step in STEPS if (MOVING / name / f"{step}.py").exists()]

FOREVER = 1000  # seconds: the machine may stand still while a client waits

TESTERS = {"twisted": "twisted.trial"}
"""What runs a guide's own test of its step in between, if it is not unittest."""

each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
each_old_server = pytest.mark.parametrize("name", OLD)


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts each server once for this file."""
    with ExitStack() as stack:
        yield cache(lambda *command, **options: stack.enter_context(lockers(*command, **options)))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Old:
    """Where a listing of a framework's lies, in a folder with those that all guides share, as a reader has them."""

    def found(name: str) -> Path:
        framework, listing = name.split("/")
        need(framework)
        return folder(framework) / f"{listing}.py"

    @cache
    def folder(framework: str) -> Path:
        made = tmp_path_factory.mktemp(framework)
        for listing in [*MOVING.glob("*.py"), *(MOVING / framework).glob("*.py")]:
            shutil.copy(listing, made)
        return made

    return found


@pytest.fixture
def old_server(start: Start, old: Old, name: str) -> Lockers:
    return start(old(name))


@pytest.fixture
def new_server(start: Start, backend: str) -> Lockers:
    return start(AFTER, "--backend", backend)


@each_check
@each_old_server
def test_an_old_server(old_server: Lockers, check: Check) -> None:
    """Before and in between, a server keeps to the protocol; in between over both its handlers, also mixed."""
    for one, other in old_server.ways():
        check(one, other, old_server.unused())


@pytest.mark.bridgeio
@each_check
def test_the_new_server(new_server: Lockers, check: Check) -> None:
    """So does the one that all guides end with, on every backend."""
    for one, other in new_server.ways():
        check(one, other, new_server.unused())


@each_old_server
def test_who_is_silent_for_an_old_server(old: Old, name: str) -> None:
    """A client that is silent for too long hears BYE, one that has to wait does not."""
    with lockers(old(name), "--idle", "0.2") as server:
        check_idle(server)


@pytest.mark.bridgeio
def test_who_is_silent_for_the_new_server(backend: str) -> None:
    """A client that is silent for too long hears BYE, one that has to wait does not."""
    with lockers(AFTER, "--backend", backend, "--idle", "0.2") as server:
        check_idle(server)


@each_old_server
def test_the_end_of_an_old_server(old: Old, name: str) -> None:
    """At SIGTERM everybody hears BYE, and the program ends in order."""
    with lockers(old(name)) as server:
        check_sigterm(server)


@pytest.mark.bridgeio
def test_the_end_of_the_new_server(backend: str) -> None:
    """At SIGTERM everybody hears BYE, and the program ends in order."""
    with lockers(AFTER, "--backend", backend) as server:
        check_sigterm(server)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_old_client(start: Start, old: Old, framework: str) -> None:
    """It talks to its own server, to both handlers of the one in between, and to the new one on that framework."""
    client = old(f"{framework}/client_before")
    new = start(AFTER, "--backend", BACKEND_OF.get(framework, framework))
    for server in (*(start(old(name)) for name in OLD if name.startswith(framework)), new):
        converse(server, client)


def test_the_new_client_as_a_program(start: Start) -> None:
    """It prints what it hears."""
    converse(start(AFTER, "--backend", "asyncio"), CLIENT_AFTER, "--backend", "threads")


@pytest.mark.bridgeio
@each_old_server
async def test_the_new_client_with_an_old_server(old_server: Lockers) -> None:
    """On every backend it talks to every server."""
    await ask_everything(old_server)


@pytest.mark.bridgeio
async def test_the_new_client_with_the_new_server(new_server: Lockers) -> None:
    """On every backend it talks to the one that is on the same."""
    await ask_everything(new_server)


@pytest.mark.bridgeio
async def test_the_new_client_where_nobody_answers() -> None:
    """A server that is silent is a TimeoutError, one that hangs up is a ConnectionError."""

    async def be_silent(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await reader.read()

    async def hang_up(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await reader.readline()

    async with bridgeio.serve(be_silent, "127.0.0.1") as server:
        with pytest.raises(TimeoutError):
            await client_after().ask_all(server.port, ["LOOK 7"], patience=0.05)
    async with bridgeio.serve(hang_up, "127.0.0.1") as server:
        with pytest.raises(ConnectionError):
            await client_after().ask_all(server.port, ["LOOK 7"], FOREVER)


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "after"])
def test_a_client_program_that_has_no_answer(old: Old, framework: str) -> None:
    """It says so in one line, and fails: whether the server is silent, or not there."""
    client = CLIENT_AFTER if framework == "after" else old(f"{framework}/client_before")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        refused = run(client, "--port", port, "--patience", "0.2", "LOOK 7")
    for done in (refused, run(client, "--port", port, "LOOK 7")):
        assert (done.stdout, done.returncode) == ("", 1)
        assert done.stderr.startswith("no answer"), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


@each_check
def test_a_patched_program(start: Start, old: Old, check: Check) -> None:
    """After gevent's ``patch_all()`` the step in between does the same."""
    server = start(old("gevent/between"), through=PATCHED)
    for one, other in server.ways():
        check(one, other, server.unused())


def test_the_service_under_twistd(old: Old) -> None:
    """It keeps to the protocol; when twistd stops it, everybody hears BYE."""
    script = old("twisted/service")
    with subprocess.Popen(
        [sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", f"--python={script}"],
        cwd=script.parent,
        env={**os.environ, "LOCKER_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = next(int(line.split()[-1]) for line in process.stdout if "listening on port" in line)
            for number, check in enumerate(CHECKS):
                check(port, port, number)
            with Client(port) as client:
                assert client.ask(b"LOOK 50") == b"EMPTY"
                process.terminate()
                assert client.hear() == b"BYE"
            assert "Unhandled" not in process.stdout.read()
        finally:
            process.kill()


TWISTD = "from twisted.scripts.twistd import run; run()"


EARLY = ["twisted/between", "gevent/before", "gevent/between", "threads/before", "threads/between"]


@pytest.mark.parametrize("name", EARLY)
def test_who_ends_its_side_early_on_an_old_server(old_server: Lockers, name: str) -> None:
    """Where the guides say so, a client that has said all it wants to say gets all its answers."""
    who_says_all_at_once(old_server)


@pytest.mark.bridgeio
def test_who_ends_its_side_early_on_the_new_server(new_server: Lockers) -> None:
    """So it does at the end, on every backend."""
    who_says_all_at_once(new_server)


def who_says_all_at_once(server: Lockers) -> None:
    number = server.unused()
    with Client(server.ports[0]) as client:
        client.send(b"LOOK %d\nTAKE %d 0.05\nLOOK %d\n" % (number, number, number))
        client.end_writing()
        assert [client.hear() for _ in range(4)] == [b"EMPTY", b"EMPTY", b"EMPTY", b"BYE"]
        assert client.hears_end()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_test_in_between(old: Old, framework: str) -> None:
    """The new handler passes in the framework's own kind of test, which complains of nothing."""
    file = old(f"{framework}/test_between")
    command = [sys.executable, "-W", "error", "-m", TESTERS.get(framework, "unittest"), "test_between"]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_test_of_the_new_server(tmp_path: Path) -> None:
    """It passes on the backends that are asked for."""
    for name in ("after.py", "test_after.py"):
        shutil.copy(MOVING / name, tmp_path)
    command = [sys.executable, "-W", "error", "-m", "pytest", *plugin(), "-p", "no:cacheprovider", "-q"]
    command += ["--rootdir", str(tmp_path), "--backend", "asyncio", "--backend", "threads", "test_after.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_handler_in_between_is_the_last_one(framework: str) -> None:
    """What is written for the step in between stays as it is; only on gevent an ``await`` is still to come."""
    between, after = (functions(file) for file in (MOVING / framework / "between.py", AFTER))
    for name in ("serve_client", "answer_to", "carry_out"):
        missing = "await lockers" if framework == "gevent" else "nothing"
        assert between[name] == after[name].replace(missing, "lockers")


def functions(file: Path) -> dict[str, str]:
    """The code of each function on the top level, without comments."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return {node.name: ast.unparse(node) for node in body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}


def converse(server: Lockers, client: Path, *arguments: str) -> None:
    """Has a client program ask at each port of a server."""
    for port in server.ports:
        number = server.unused()
        requests = [f"PUT {number} two words", f"LOOK {number}", f"TAKE {number} 0", f"TAKE {number} 0.01"]
        done = run(client, *arguments, "--patience", FOREVER, "--port", port, *requests)
        assert (done.stdout.split("\n"), done.stderr) == (["OK", "FULL", "TEXT two words", "EMPTY", ""], "")
        assert done.returncode == 0


async def ask_everything(server: Lockers) -> None:
    for port in server.ports:
        number = server.unused()
        requests = [f"PUT {number} text", f"LOOK {number}", f"TAKE {number} 0", f"TAKE {number} 0.01", "nonsense"]
        *answers, wrong = await client_after().ask_all(port, requests, FOREVER)
        assert answers == ["OK", "FULL", "TEXT text", "EMPTY"]
        assert wrong.startswith("ERROR ")


def need(framework: str) -> None:
    """asyncore left Python with 3.12; the packages that bring it back are among the tests' own."""
    if not is_there(framework):
        absent(f"{framework} is not installed")


def run(script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = python(script, *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@cache
def client_after() -> Any:
    """The new client as a module."""
    spec = importlib.util.spec_from_file_location("client_after", CLIENT_AFTER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plugin() -> list[str]:
    """An installed bridgeio brings its plugin, a checkout on the path does not."""
    installed = any(entry.name == "bridgeio" for entry in entry_points(group="pytest11"))
    return [] if installed else ["-p", "bridgeio.testing.plugin"]
