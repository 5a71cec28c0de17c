"""What the pages on how to do things show, on every backend."""

from __future__ import annotations

import os
import signal
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

import bridgeio
from bridgeio.testing import run_in_virtual_time
from bridgeio.testing.resources import until
from bridgeio.testing.tls_peers import authority
from bridgeio.unpatched import original
from checkout import ROOT
from needs import package
from programs import EXAMPLES, PATIENCE, python, talk

pytestmark = pytest.mark.bridgeio


def test_counter(backend: str) -> None:
    """It begins with 0, leaves out no number that it need not, and ends after the last."""
    printed = talk(python(EXAMPLES / "counter.py", "--backend", backend, "--seconds", "0.05", "--ticks", "5"), b"")
    numbers = [int(line) for line in printed.split()]
    assert (numbers[0], numbers) == (0, sorted(set(numbers)))
    assert numbers[-1] >= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sigint(backend: str, number: signal.Signals) -> None:
    """It counts until the signal comes, says goodbye, and ends with status 0 without another word."""
    command = python(EXAMPLES / "sigint.py", "--backend", backend, "--seconds", "0.01")
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "0\n"
            assert int(program.stdout.readline()) >= 1
            program.send_signal(number)
            printed, complaint = program.communicate(timeout=PATIENCE)
        finally:
            program.kill()
    assert (printed.splitlines()[-1], complaint) == (f"{number.name}: goodbye", "")
    assert program.returncode == 0


async def test_the_page_on_signals() -> None:
    """Its listing reloads at each SIGHUP, and cancels at SIGTERM, whose name is the reason."""
    reloaded: list[int] = []
    async with bridgeio.create_task_group() as group:
        # In the main task: on threads no other may open a receiver.
        group.start_soon(_send, reloaded)
        with bridgeio.CancelScope() as scope:
            await _listing("signals").watch_signals(lambda: reloaded.append(1), scope)
    assert scope.cancelled_caught
    assert len(reloaded) == 2


async def test_the_page_on_files(tmp_path: Path) -> None:
    """Its server answers with notes, and only with those in the folder; a note that is written is there at once."""
    listing = _listing("files")
    folder = bridgeio.Path(tmp_path, "notes")
    await folder.mkdir()
    await (folder / ".." / "secret").write_text("secret")
    await listing.write_note(folder, "hello", "Hello!\n")

    async def handle(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await listing.serve_notes(reader, writer, folder)

    async with bridgeio.serve(handle, "127.0.0.1") as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        async with writer:
            writer.write(b"hello\nmissing\n../secret\n")
            writer.write_eof()
            assert await reader.read() == b"Hello!\nno such note\nno such note\n"
    assert [path.name async for path in folder.iterdir()] == ["hello"]


async def test_the_page_on_http() -> None:
    """Its client gets from its server what it has sent, in capitals; what is no POST, or too long, is refused."""
    package("h11")
    listing = _listing("http_library")
    async with bridgeio.serve(listing.handler(listing.shout), "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert await listing.ask(url, b"hello") == b"HELLO"
        with pytest.raises(ValueError, match="answered 413"):
            await listing.ask(url, bytes(100_001))
        async with listing.Client() as client:
            assert (await client.request("GET", url)).status == 405


def test_the_page_on_standard_streams(tmp_path: Path) -> None:
    """Its program numbers lines, from a pipe and from a file."""
    listing = python(ROOT / "docs" / "listings" / "standard_streams.py")
    (tmp_path / "lines").write_bytes(b"one\ntwo\n")
    assert talk(listing, b"one\ntwo\n") == b"     1  one\n     2  two\n"
    with open(tmp_path / "lines", "rb") as file, Popen(listing, stdin=file, stdout=PIPE) as program:
        printed, _ = program.communicate(timeout=PATIENCE)
    assert printed == b"     1  one\n     2  two\n"


def test_the_page_on_timers(backend: str, backend_options: dict[str, object]) -> None:
    """Its reports come on time and tell what was left out, turns keep their distance, and an attempt is made again."""
    listing = _listing("timers")
    seen: list[float] = []
    attempts = iter([ConnectionRefusedError(), TimeoutError(), None])

    async def report() -> None:
        seen.append(bridgeio.current_time())
        await bridgeio.sleep(25 if len(seen) == 2 else 1)

    async def take_turns(pace: object, count: int) -> None:
        for _ in range(count):
            await listing.Pace.turn(pace)
            seen.append(bridgeio.current_time())

    async def attempt() -> str:
        failure = next(attempts)
        if failure is not None:
            raise failure
        return "connected"

    async def main() -> None:
        with bridgeio.move_on_after(55):
            await listing.report_every(10, report)
        assert [round(when - seen[0]) for when in seen] == [0, 10, 35, 40, 50]
        seen.clear()
        pace = listing.Pace(2)
        async with bridgeio.create_task_group() as group:
            for count in (1, 2, 2):
                group.start_soon(take_turns, pace, count)
        assert [round(when - seen[0]) for when in seen] == [0, 2, 4, 6, 8]
        assert await listing.with_retries(attempt) == "connected"
        with pytest.raises(ConnectionError):
            await listing.with_retries(partial(bridgeio.open_unix_connection, "\0nobody"), pauses=[100, 100])

    run_in_virtual_time(main, backend=backend, backend_options=backend_options)


async def test_the_clock_on_the_wall() -> None:
    """What waits for a time of the day does not go on before; what has passed is not waited for."""
    when = datetime.now(UTC) + timedelta(seconds=0.02)
    await _listing("timers").wait_for_the_clock(when)
    assert datetime.now(UTC) >= when
    await _listing("timers").wait_for_the_clock(when - timedelta(days=1))


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], str]:
    """Makes a file with key and certificate for a name; under the name of "authorities" is who has issued them."""
    authority().cert_pem.write_to_path(str(tmp_path / "authorities"))

    def issue(name: str) -> str:
        path = tmp_path / name
        if not path.exists():
            authority().issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return str(path)

    return issue


async def test_the_page_on_tls(certificates: Callable[[str], str]) -> None:
    """The server greets clients by the names in their certificates, as agreed on; sessions save handshakes."""
    listing = _listing("tls")
    authorities = certificates("authorities")
    server_side = listing.context_of_server(certificates("localhost"), authorities)
    client_side = partial(listing.context_of_client, certificates("ann.example"), authorities)
    async with bridgeio.serve(listing.greet, "localhost", ssl=server_side) as server:
        client = listing.Client("localhost", server.port, client_side())
        assert [await client.ask() for _ in range(3)] == [b"hello ann.example!\n"] * 3
        assert client.resumed == 2
        older = listing.Client("localhost", server.port, client_side(protocols=["greet/1"]))
        assert await older.ask() == b"hello ann.example\n"


async def test_who_has_no_certificate(certificates: Callable[[str], str]) -> None:
    """On the page's server such a client gets no answer, hears why by its first read, and the server is told."""
    authorities = certificates("authorities")
    told: list[Exception] = []
    context = _listing("tls").context_of_server(certificates("localhost"), authorities)

    def on_error(error: Exception, peer: object) -> None:
        told.append(error)

    async with bridgeio.serve(_listing("tls").greet, "localhost", ssl=context, on_error=on_error) as server:
        client = _listing("tls").Client("localhost", server.port, ssl.create_default_context(cafile=authorities))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.ask()
        await until(lambda: bool(told))
    assert isinstance(told[0], ssl.SSLError)


async def test_a_new_certificate(certificates: Callable[[str], str]) -> None:
    """As the page says, new connections get what was loaded meanwhile, and one that is there goes on; and a protocol
    that the server does not speak is nobody's, but no failure."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates("localhost"))
    context.set_alpn_protocols(["greet/2"])
    trusting = ssl.create_default_context(cafile=certificates("authorities"))
    trusting.set_alpn_protocols(["other"])

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        async for line in reader:
            writer.write(line)

    async with bridgeio.serve(echo, "localhost", ssl=context) as server:
        reader, writer = await bridgeio.open_connection("localhost", server.port, ssl=trusting)
        async with writer:
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
            context.load_cert_chain(certificates("new.example"))
            with pytest.raises(ssl.SSLCertVerificationError):
                await bridgeio.open_connection("localhost", server.port, ssl=trusting)
            _, other = await bridgeio.open_connection(
                "localhost", server.port, ssl=trusting, server_hostname="new.example"
            )
            other.close()
            writer.write(b"as before\n")
            assert await reader.readline() == b"as before\n"


async def test_the_page_on_code_that_blocks(tmp_path: Path) -> None:
    """Its notes are kept, readings come out of another thread, also when there are too many, and a search ends."""
    listing = _listing("blocking_code")
    notes = listing.Notes(tmp_path / "notes")
    async with bridgeio.create_task_group() as group:
        for number in range(5):
            group.start_soon(notes.put, "name", str(number))
    assert await notes.get("name") in {"0", "1", "2", "3", "4"}
    assert await notes.get("nobody") is None
    notes.close()
    assert await listing.readings(_reporting(1000), 150) == list(range(150))
    assert await listing.search("o+", "foo boo", 60) == ["oo", "oo"]
    with pytest.raises(TimeoutError):
        await listing.search("(a+)+$", "a" * 50 + "b", 0.05)


def _reporting(count: int) -> Callable[[Callable[[int], None]], Callable[[], None]]:
    """A library that calls back in a thread of its own, and waits for that when it is to stop."""

    def subscribe(report: Callable[[int], None]) -> Callable[[], None]:
        stopped = threading.Event()

        def work() -> None:
            for number in range(count):
                if stopped.is_set():
                    return
                report(number)

        def unsubscribe() -> None:
            stopped.set()
            thread.join()

        thread = threading.Thread(target=work)
        thread.start()
        return unsubscribe

    return subscribe


async def test_the_page_on_descriptors() -> None:
    """Its loop sees a driver through that writes more than goes at once, and then reads the answer."""
    near, far = original("socket", "socketpair")()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        ours, theirs = _Driver(near, bytes(1_000_000), 5), _Driver(far, b"", 1_000_000)
        finish = _listing("descriptors").finish
        async with bridgeio.create_task_group() as group:
            group.start_soon(finish, ours)
            await finish(theirs)
            far.send(b"thank")
        assert (ours.missing, theirs.missing) == (0, 0)


class _Driver:
    """Sends what it is given, then receives so many bytes."""

    def __init__(self, sock: Any, data: bytes, expected: int) -> None:
        self._sock = sock
        self._data = data
        self.missing = expected

    def fileno(self) -> int:
        return int(self._sock.fileno())

    @property
    def wants_write(self) -> bool:
        return bool(self._data)

    def is_done(self) -> bool:
        with suppress(BlockingIOError):
            while self._data:
                self._data = self._data[self._sock.send(self._data) :]
            while self.missing:
                self.missing -= len(self._sock.recv(self.missing))
        return not self.missing


async def _send(reloaded: list[int]) -> None:
    def received_by_ours() -> bool:
        return "dispositions" in type(signal.getsignal(signal.SIGTERM)).__module__

    await until(received_by_ours)
    for count in (1, 2):
        os.kill(os.getpid(), signal.SIGHUP)
        await until(_has_length(reloaded, count))
    os.kill(os.getpid(), signal.SIGTERM)


def _has_length(items: list[int], count: int) -> Callable[[], bool]:
    return lambda: len(items) == count


def _listing(name: str) -> Any:
    spec = spec_from_file_location(name, ROOT / "docs" / "listings" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
