"""What the documentation shows of ticks, signals and files, on every backend."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from checkout import ROOT
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


def test_the_page_on_standard_streams(tmp_path: Path) -> None:
    """Its program numbers lines, from a pipe and from a file."""
    listing = python(ROOT / "docs" / "listings" / "standard_streams.py")
    (tmp_path / "lines").write_bytes(b"one\ntwo\n")
    assert talk(listing, b"one\ntwo\n") == b"     1  one\n     2  two\n"
    with open(tmp_path / "lines", "rb") as file, Popen(listing, stdin=file, stdout=PIPE) as program:
        printed, _ = program.communicate(timeout=PATIENCE)
    assert printed == b"     1  one\n     2  two\n"


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
