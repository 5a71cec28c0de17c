"""Chapter: standard streams. They are read and written whatever they lead to, and left as they were for others."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import socket
import subprocess
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from bridgeio.testing.choosing import is_patched
from bridgeio.testing.programs import command_for
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

PATIENCE = 60.0  # seconds for a program that needs none

# Copies its input to its output, and tells on standard error whether anything was made non-blocking meanwhile.
COPY = """
import fcntl, os

def shared():
    return [fd for fd in (0, 1, 2) if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK]

async def main():
    reader, writer = await bridgeio.open_stdin(), await bridgeio.open_stdout()
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    errors = await bridgeio.open_stderr()
    errors.write(f"{shared()}".encode())

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""

LINES = b"".join(b"line %d\n" % number for number in range(50_000))


@contextmanager
def _running(source: str, backend: str, options: Mapping[str, object], **streams: Any) -> Iterator[Any]:
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    with subprocess.Popen(command_for(source, backend, options), **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def _said(process: Any) -> bytes:
    """On standard error, once the program has ended well."""
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said.decode()
    return bytes(said)


def _is_blocking(file: IO[Any] | int) -> bool:
    return not fcntl.fcntl(file, fcntl.F_GETFL) & os.O_NONBLOCK


def test_standard_streams_in_pipes(backend: str, backend_options: dict[str, Any]) -> None:
    """All that comes in goes out, and a pipe that is full makes the program wait."""
    with _running(COPY, backend, backend_options, stdin=subprocess.PIPE) as process:
        printed, said = process.communicate(LINES, timeout=PATIENCE)
    assert (process.returncode, said) == (0, b"[]")
    assert printed == LINES


def test_standard_streams_in_files(backend: str, backend_options: dict[str, Any], tmp_path: Path) -> None:
    """They begin where the shell's descriptors stand, and leave these where they have come to."""
    (tmp_path / "in").write_bytes(LINES)
    (tmp_path / "out").write_bytes(b"before\n")
    with open(tmp_path / "in", "rb", buffering=0) as given, open(tmp_path / "out", "ab", buffering=0) as taken:
        given.seek(len(b"line 0\n"))
        with _running(COPY, backend, backend_options, stdin=given, stdout=taken) as process:
            assert _said(process) == b"[]"
        assert given.tell() == len(LINES)
        taken.write(b"after\n")
    assert (tmp_path / "out").read_bytes() == b"before\n" + LINES[len(b"line 0\n") :] + b"after\n"


def test_standard_streams_at_a_terminal(backend: str, backend_options: dict[str, Any]) -> None:
    """Lines are read as they are typed; the terminal is left as it was, also while the program runs."""
    ours, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    try:
        streams = {"stdin": terminal, "stdout": terminal}
        with _running(COPY, backend, backend_options, **streams) as process:
            for line in (b"one\n", b"two\n"):
                os.write(ours, line)
                assert _read(ours, 2 * (len(line) + 1)) == line.replace(b"\n", b"\r\n") * 2  # the echo, and the copy
                assert _is_blocking(terminal)
            os.write(ours, b"\x04")
            assert _said(process) == b"[]"
        assert (_is_blocking(terminal), termios.tcgetattr(terminal)) == (True, before)
    finally:
        os.close(ours)
        os.close(terminal)


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


def _socketpair() -> tuple[socket.socket, socket.socket]:
    """A patched one is non-blocking."""
    pair = original("socket", "socketpair")()
    for sock in pair:
        os.set_blocking(sock.fileno(), True)
    return pair[0], pair[1]


def test_standard_streams_in_a_socket(backend: str, backend_options: dict[str, Any]) -> None:
    """As a program has them that inetd has started. The socket stays as it was."""
    ours, theirs = _socketpair()
    with ours, theirs, _running(COPY, backend, backend_options, stdin=theirs, stdout=theirs) as process:
        ours.sendall(b"hello\n")
        assert _read(ours.fileno(), 6) == b"hello\n"
        assert _is_blocking(theirs.fileno())
        ours.shutdown(socket.SHUT_WR)
        assert _said(process) == b"[]"


def test_standard_streams_that_somebody_has_made_non_blocking(backend: str, backend_options: dict[str, Any]) -> None:
    """As some programs leave a terminal or a socket: bridgeio waits all the same, and leaves that as it is, too."""
    if is_patched():
        pytest.skip("gevent makes blocking what it gives to a child")
    ours, theirs = _socketpair()
    with ours, theirs:
        os.set_blocking(theirs.fileno(), False)
        with _running(COPY, backend, backend_options, stdin=theirs, stdout=theirs) as process:
            for _ in range(2):
                ours.sendall(b"hello\n")
                assert _read(ours.fileno(), 6) == b"hello\n"
            assert not _is_blocking(theirs.fileno())
            ours.shutdown(socket.SHUT_WR)
            assert _said(process) == b"[0, 1]"


def test_standard_streams_that_lead_nowhere(backend: str, backend_options: dict[str, Any]) -> None:
    """``/dev/null`` is empty, and takes everything."""
    with _running(COPY, backend, backend_options, stdout=subprocess.DEVNULL) as process:
        assert _said(process) == b"[]"


UNFLUSHED = """
async def main():
    writer = await bridgeio.open_stdout()
    print("first", end=" ")  # stays in Python's buffer, where this is no terminal
    writer = await bridgeio.open_stdout()
    writer.write(b"x" * 1_000_000)

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_is_flushed_at_the_end(
    backend: str, backend_options: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    """What was written comes out, also if nobody has closed the writer or waited for it."""
    if kind == "pipe":
        with _running(UNFLUSHED, backend, backend_options) as process:
            printed, said = process.communicate(timeout=PATIENCE)
            assert (process.returncode, said.decode()) == (0, "")
    else:
        with (
            open(tmp_path / "out", "wb") as file,
            _running(UNFLUSHED, backend, backend_options, stdout=file) as process,
        ):
            assert _said(process) == b""
        printed = (tmp_path / "out").read_bytes()
    assert printed.replace(b"first ", b"") == b"x" * 1_000_000


ORDER = """
import sys

async def main():
    sys.stdout.write("first ")
    writer = await bridgeio.open_stdout()
    assert writer is await bridgeio.open_stdout()
    assert await bridgeio.open_stdin() is await bridgeio.open_stdin(limit=10)
    async with writer:
        writer.write(b"second ")
    try:
        writer.write(b"too late")
    except bridgeio.StreamClosedError:
        sys.stdout.write("third ")
    (await bridgeio.open_stdout()).write(b"fourth")

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_output_is_opened_again(
    backend: str, backend_options: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    """All who ask get the same until it is closed, which leaves the descriptor open; what Python has is flushed."""
    if kind == "pipe":
        with _running(ORDER, backend, backend_options) as process:
            printed, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (0, b"")
    else:
        with open(tmp_path / "out", "wb") as file, _running(ORDER, backend, backend_options, stdout=file) as process:
            assert _said(process) == b""
        printed = (tmp_path / "out").read_bytes()
    assert printed == b"first second third fourth"


STALE = """
import sys

async def main():
    reader, writer = await bridgeio.open_stdin(), await bridgeio.open_stdout()
    assert await reader.readline() == b"first\\n"
    writer.write(b"in time")
    return reader, writer

async def read(reader):
    return await reader.read()

def refused(function, *args):
    try:
        function(*args)
    except bridgeio.StreamClosedError as error:
        print("belongs to a run that has ended" in str(error), file=sys.stderr)

def run(function):
    return bridgeio.run(function, backend=BACKEND, backend_options=OPTIONS)

reader, writer = run(main)
refused(writer.write, b"too late")
refused(writer.write_eof)
refused(run, lambda: read(reader))
writer.close()
"""


@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_standard_streams_end_with_their_run(
    backend: str, backend_options: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    """Whoever uses them after it hears that it is over; nothing is taken that would never be written."""
    (tmp_path / "in").write_bytes(b"first\nsecond\n")
    streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with open(tmp_path / "in", "rb") as given, open(tmp_path / "out", "wb") as taken:
        if kind == "file":
            streams = {"stdin": given, "stdout": taken}
        with _running(STALE, backend, backend_options, **streams) as process:
            printed, said = process.communicate(b"first\nsecond\n" if kind == "pipe" else None, timeout=PATIENCE)
    assert said.decode().splitlines() == ["True"] * 3
    assert (tmp_path / "out").read_bytes() + (printed or b"") == b"in time"


FAILING = """
import sys
from bridgeio.unpatched import original

async def main():
    if CLOSED:
        original("os", "close")(1)
    writer = await bridgeio.open_stdout()
    writer.set_write_buffer_limits(0)
    try:
        writer.write(b"x" * 100_000)
        await writer.drain()
    except OSError as error:
        print(type(error).__name__, error.errno, file=sys.stderr)

try:
    bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
except OSError as error:
    print("open:", error, file=sys.stderr)
"""


def test_errors_of_standard_output(backend: str, backend_options: dict[str, Any]) -> None:
    """A disk that is full, and a reader that has gone, are told to who writes."""
    failing = FAILING.replace("CLOSED", "False")
    with open("/dev/full", "wb") as full, _running(failing, backend, backend_options, stdout=full) as process:
        assert _said(process) == b"OSError 28\n"
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        with _running(failing, backend, backend_options, stdout=theirs) as process:
            assert _said(process) == b"BrokenPipeError 32\n"
    finally:
        os.close(theirs)


LOSING = """
from bridgeio import standard

standard.LINGER = 0.2

async def main():
    writer = await bridgeio.open_stdout()
    writer.write(b"x" * SIZE)
    await writer.drain()
    FAIL

try:
    bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
except (OSError, LookupError) as error:
    print(type(error).__name__, error, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        pytest.param(
            "pass", b"OSError [Errno 28] No space left on device (write to the standard output)\n", id="alone"
        ),
        pytest.param("raise LookupError('mine')", b"LookupError mine\n", id="beside another error"),
    ],
)
def test_output_that_is_lost_at_the_end(backend: str, backend_options: dict[str, Any], fail: str, told: bytes) -> None:
    """Who has written little hears of no error while it runs: the run itself raises it, unless it has failed anyway."""
    losing = LOSING.replace("SIZE", "10").replace("FAIL", fail)
    with open("/dev/full", "wb") as full, _running(losing, backend, backend_options, stdout=full) as process:
        assert _said(process) == told


def test_output_that_nobody_takes(backend: str, backend_options: dict[str, Any]) -> None:
    """A reader that has stopped reading holds up the end for a while, and then the loss is told."""
    ours, theirs = os.pipe()
    losing = LOSING.replace("SIZE", "1_000_000").replace("await writer.drain()", "pass").replace("FAIL", "pass")
    try:
        with _running(losing, backend, backend_options, stdout=theirs) as process:
            os.close(theirs)
            said = _said(process)
        assert said.startswith(b"TimeoutError [Errno %d] nobody took the last " % errno.ETIMEDOUT)
        assert said.endswith(b" bytes within 0.2 s (write to the standard output)\n")
    finally:
        os.close(ours)


def test_a_standard_stream_that_is_closed(backend: str, backend_options: dict[str, Any]) -> None:
    """The error says which it is."""
    with _running(FAILING.replace("CLOSED", "True"), backend, backend_options) as process:
        assert b"open: [Errno 9] Bad file descriptor (open the standard output)" in _said(process)


# Started without standard input and output, whose numbers somebody gets: the first file that is opened.
WITHOUT = """
import os

taken = [os.open(os.devnull, os.O_RDWR) for _ in range(2)]

async def main():
    for opens in (bridgeio.open_stdin, bridgeio.open_stdout):
        try:
            await opens()
        except OSError as error:
            print(taken, error, file=sys.stderr)

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""


def test_standard_streams_that_the_program_was_started_without(backend: str, backend_options: dict[str, Any]) -> None:
    """Their numbers are somebody else's now, most often the loop's, which must not be read or written."""
    shell = ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command_for(WITHOUT, backend, backend_options)]
    with subprocess.Popen(shell, stderr=subprocess.PIPE) as process:
        said = _said(process).decode().splitlines()
    bad = "[0, 1] [Errno 9] Bad file descriptor (open the standard "
    assert said == [f"{bad}input)", f"{bad}output)"]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
