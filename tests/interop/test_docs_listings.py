"""What README and the documentation show runs, as it stands there, on every backend."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import select
import signal
import socket
import subprocess
import sys
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.datagram_peers import multicast_interfaces
from bridgeio.testing.peers import Peer
from bridgeio.testing.pulling import memory_pair
from bridgeio.testing.tls_peers import NAME, client_context, server_context
from checkout import ROOT
from needs import absent

LISTINGS = ROOT / "docs" / "listings"

FORGETFUL = "messages._size = None\n                    while len(got)"


async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    async for line in reader:
        writer.write(line)
        await writer.drain()


@pytest.mark.bridgeio
def test_the_first_program_of_the_readme_serves_and_drains(backend: str, tmp_path: Path) -> None:
    """README's first lines, with another port and backend, echo a line and end by themselves after Ctrl-C."""
    port = free_port()
    program = tmp_path / "echo.py"
    program.write_text(first_program().replace("8888", str(port)).replace("trio", backend), encoding="utf-8")
    with subprocess.Popen([sys.executable, program], stderr=subprocess.PIPE, text=True) as process:
        with connect(port, process) as client, client.makefile("rwb") as stream:
            stream.write(b"hello\n")
            stream.flush()
            assert stream.readline() == b"hello\n"
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")


@pytest.mark.bridgeio
async def test_the_client() -> None:
    """The tutorial's client gets its lines back, and hears the end."""
    async with bridgeio.serve(echo, "localhost") as server:
        assert await listing("client").ask("localhost", server.port, [b"one\n", b"two\n"]) == [b"one\n", b"two\n"]


@pytest.mark.bridgeio
async def test_the_impatient_server() -> None:
    """Each line moves the deadline; who is silent is told so, and hung up on."""

    async def impatient(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await listing("timeouts").impatient_echo(reader, writer, patience=0.05)

    async with bridgeio.serve(impatient, "localhost") as server:
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"hello\n")
            assert await peer.receive_all() == b"hello\nYou have been silent for too long.\n"


@pytest.mark.bridgeio
async def test_the_processes() -> None:
    """One counts, one answers line by line, one that takes too long is ended."""
    shown = listing("processes")
    assert await shown.count_words(b"one two\nthree\n") == 3
    assert await shown.upper([b"abcd\n", b"bcde\n"]) == [b"ABCd\n", b"BCde\n"]
    assert await shown.impatient(["echo", "hello"], 1000) == b"hello\n"
    assert await shown.impatient(["sleep", "1000"], 0.01) is None


@pytest.mark.bridgeio
async def test_the_client_with_a_deadline() -> None:
    """A server that says nothing is a TimeoutError, one that does is not."""

    async def greet(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(b"hello\n")

    async def say_nothing(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await reader.read()

    first_line = listing("timeouts").first_line
    async with bridgeio.serve(greet, "localhost") as server:
        assert await first_line("localhost", server.port) == b"hello\n"
    async with bridgeio.serve(say_nothing, "localhost") as server:
        with pytest.raises(TimeoutError):
            await first_line("localhost", server.port, seconds=0.05)


@pytest.mark.bridgeio
async def test_many_questions_at_once() -> None:
    """The tutorial's group gives each question its answer."""
    questions = [b"%d\n" % number for number in range(20)]
    async with bridgeio.serve(echo, "localhost") as server:
        answers = await listing("groups").ask_all("localhost", server.port, questions)
    assert answers == {question: question for question in questions}


@pytest.mark.bridgeio
async def test_the_session_that_cleans_up() -> None:
    """It waits for the answer to its goodbye, also when it is cancelled from outside in the middle of a wait."""
    seen: list[str] = []

    async def answer(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await reader.readuntil(b"QUIT\r\n")
        seen.append("goodbye")
        writer.write(b"BYE\r\n")

    async with bridgeio.serve(answer, "localhost") as server:
        for cancelled in (False, True):
            with bridgeio.CancelScope() as scope:
                async with listing("cleanup").session("localhost", server.port) as (reader, _):
                    if cancelled:
                        scope.cancel()
                        await reader.readline()
            seen.append("left")
    assert seen == ["goodbye", "left"] * 2


@pytest.mark.bridgeio
async def test_the_checksum_in_a_thread(tmp_path: Path) -> None:
    """The thread tells how far it is; cancelled by what it calls, it stops in the middle."""
    file = tmp_path / "data"
    file.write_bytes(b"x" * (3 << 20))
    progress: list[int] = []

    async def note(position: int) -> None:
        progress.append(position)

    async def stop(position: int) -> None:
        progress.append(position)
        scope.cancel()

    checksum = listing("offloading").checksum
    assert await checksum(file, note) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert progress == [1 << 20, 2 << 20, 3 << 20]
    with bridgeio.CancelScope() as scope:
        await checksum(file, stop)
    assert scope.cancelled_caught
    assert progress[3:] == [1 << 20]


@pytest.mark.bridgeio
async def test_the_client_behind_a_portal() -> None:
    """Synchronous code, here in a worker thread, gets its lines back, and its run ends with it."""

    def use(port: int) -> list[bytes]:
        client = listing("portal").LineClient("localhost", port)
        try:
            return [client.ask(b"one\n"), client.ask(b"two\n")]
        finally:
            client.close()

    async with bridgeio.serve(echo, "localhost") as server:
        assert await bridgeio.to_thread.run_sync(use, server.port) == [b"one\n", b"two\n"]


@pytest.mark.bridgeio
async def test_the_polite_server() -> None:
    """The handler says goodbye when its server closes, and counts as finished; who hung up before is no trouble."""
    async with bridgeio.serve(listing("draining").polite_echo, "localhost") as server:
        with Peer.connect(server.addresses[0]) as gone:
            gone.half_close()
            assert await gone.receive_all() == b""
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"hello\n")
            assert await peer.receive(6) == b"hello\n"
            report = await server.close(grace=5)
            assert await peer.receive_all() == b"The server is closing.\n"
    assert (report.finished, report.cancelled, report.failed, report.unresponsive) == (1, 0, 0, 0)


@pytest.mark.bridgeio
async def test_the_datagram_service() -> None:
    """The client has its answer at once, or as soon as somebody listens; or it is told that there is none."""
    datagrams = listing("datagrams")
    async with await bridgeio.create_udp_socket(local_host="127.0.0.1") as udp:
        host, port = udp.get_extra_info("sockname")
        async with bridgeio.create_task_group() as group:
            group.start_soon(datagrams.serve_upper, udp)
            assert await datagrams.ask(host, port, b"question", patience=20) == b"QUESTION"
            group.cancel_scope.cancel()
        with pytest.raises(TimeoutError, match=f"no answer from {host}:{port}"):
            await datagrams.ask(host, port, b"question", patience=0.01)
    with pytest.raises(TimeoutError):
        await datagrams.ask(host, port, b"question", patience=0.01)


@pytest.mark.bridgeio
async def test_the_discovery() -> None:
    """Who asks a group has the answers of its members."""
    interfaces = multicast_interfaces()
    if not interfaces:
        absent("no interface on which this machine hears itself in a group")
    discovery = listing("discovery")
    port = free_port()
    found: dict[bytes, str] = {}
    async with bridgeio.create_task_group() as group:
        for name in (b"one", b"two"):
            group.start_soon(discovery.answer, name, port, interfaces[0])
        while found.keys() != {b"one", b"two"}:
            found |= await discovery.find(port, interfaces[0], patience=0.05)
        group.cancel_scope.cancel()


@pytest.mark.bridgeio
async def test_the_conversation_that_becomes_encrypted() -> None:
    """What was asked in secret was; who does not ask for that is answered in clear; and no server is taken for TLS."""
    server, client = server_context(), client_context()
    async with bridgeio.serve(listing("starttls").handler(server), "127.0.0.1") as running:
        resolver = knows(NAME)
        with Peer.connect(running.addresses[0]) as peer:
            peer.send(b"hello\n")
            assert await peer.receive(23) == b"everybody hears: hello\n"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bridgeio, "open_connection", partial(bridgeio.open_connection, resolver=resolver))
            ask = listing("starttls").ask_in_secret
            assert await ask(NAME, running.port, b"hello\n", client) == b"nobody else hears: hello\n"
    async with bridgeio.serve(echo, "127.0.0.1") as plain:
        with pytest.raises(ConnectionError, match="does not offer TLS"):
            await listing("starttls").ask_in_secret("127.0.0.1", plain.port, b"hello\n", client)


def knows(name: str) -> Any:
    """A name service that knows one name, as this machine's."""

    async def resolve(host: str | None, port: int | str | None, family: int, flags: int) -> list[Any]:
        assert host == name
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    return resolve


INSIDE = {
    "tornado": "b'HELLO\\n'",
    "gevent": "b'BLOCKING\\n'\nb'SPAWNED\\n'",
}


@pytest.mark.parametrize("framework", INSIDE)
def test_inside_a_running_application(framework: str) -> None:
    """The program on a framework's page runs, prints what it should, and complains of nothing."""
    if framework not in bridgeio.available_backends():
        absent(f"{framework} is not installed")
    done = run_python(LISTINGS / f"inside_{framework}.py")
    assert (done.stdout.strip(), done.stderr, done.returncode) == (INSIDE[framework], "", 0)


WRAPPED = {
    "tornado": "b'hello ann\\n'\nb'IS ANYBODY THERE?\\n'",
    "twisted": "b'3\\n'\nb'none\\n'",
}


@pytest.mark.parametrize("framework", WRAPPED)
def test_serving_what_a_framework_accepts(framework: str) -> None:
    """The programs on the page about native streams run, print what they should, and complain of nothing."""
    if framework not in bridgeio.available_backends():
        absent(f"{framework} is not installed")
    done = run_python(LISTINGS / f"wrapping_{framework}.py")
    assert (done.stdout.strip(), done.stderr, done.returncode) == (WRAPPED[framework], "", 0)


@pytest.mark.bridgeio
async def test_one_protocol_over_a_wrapped_stream() -> None:
    """The page's coroutine speaks over a socket, and over an object with receive and send."""
    one, other = socket.socketpair()
    with Peer(other) as peer:
        peer.send(b"ann\n")
        await listing("wrapping").greet(one)
        assert await peer.receive_all() == b"who are you?\nhello ann\n"
    near, far = memory_pair()
    await far.send(b"ann\n")
    await listing("wrapping").greet(near)
    assert await far.receive() + await far.receive() == b"who are you?\nhello ann\n"


def test_the_synchronous_client() -> None:
    """The class on the page about threads holds its connection over several calls, in synchronous code."""
    with socket.create_server(("localhost", 0)) as listener:
        client = listing("inside_threads").Shouting("localhost", listener.getsockname()[1])
        peer, _ = listener.accept()
        with peer:
            for number in (b"1\n", b"2\n"):
                peer.sendall(number)
                assert client.ask(b"?\n") == number
            client.close()
            assert peer.makefile("rb").read() == b"?\n?\n"


@pytest.mark.parametrize(("name", "passed"), [("test_echo", 4), ("test_virtual_time", 2), ("test_tls", 4)])
def test_the_test(tmp_path: Path, name: str, passed: int) -> None:
    """The test files that the pages show pass, each of their tests on each backend that is asked for."""
    copy = tmp_path / f"{name}.py"
    copy.write_bytes((LISTINGS / f"{name}.py").read_bytes())
    done = run_python("-m", "pytest", *plugin(), "-p", "no:cacheprovider", "--rootdir", tmp_path, copy, "-q",
                      "--backend", "asyncio", "--backend", "threads")  # fmt: skip
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr


def test_the_swept_protocol(tmp_path: Path) -> None:
    """The sweep in the documentation passes, and finds the message that its comment says would be lost."""
    text = (LISTINGS / "test_sweep.py").read_text(encoding="utf-8")
    for name, code in (("test_right", text), ("test_wrong", text.replace("while len(got)", FORGETFUL))):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    done = run_python("-m", "pytest", *plugin(), "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path, "-q",
                      "--backend", "asyncio", "--backend", "threads")  # fmt: skip
    assert "2 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "bridgeio: swept" in done.stdout
    assert re.search(
        r"two_messages, cancelled while it waits, at wait \d .*Messages.next.*IncompleteReadError", done.stdout
    )


def first_program() -> str:
    """README's first Python block."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def listing(name: str) -> Any:
    """A listing as a module."""
    if name in _LISTINGS:
        return _LISTINGS[name]
    spec = importlib.util.spec_from_file_location(name, LISTINGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return _LISTINGS.setdefault(name, module)


_LISTINGS: dict[str, ModuleType] = {}


def run_python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


def plugin() -> list[str]:
    """An installed bridgeio brings its plugin, a checkout on the path does not."""
    installed = any(entry.name == "bridgeio" for entry in entry_points(group="pytest11"))
    return [] if installed else ["-p", "bridgeio.testing.plugin"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connect(port: int, process: subprocess.Popen[str]) -> socket.socket:
    """A connection to a program that is starting."""
    while process.poll() is None:
        try:
            return socket.create_connection(("localhost", port), timeout=30)
        except ConnectionRefusedError:
            select.select([], [], [], 0.01)
    raise AssertionError(f"the program ended: {process.communicate()[1]}")
