"""Programs that run beside a test: servers that say where they listen, and clients that end by themselves."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select

from checkout import ROOT

__all__ = ["EXAMPLES", "PATIENCE", "Listening", "connected", "listening", "python", "receive", "talk"]

EXAMPLES = ROOT / "examples"

PATIENCE = 30.0  # seconds for what takes a moment on a machine that has nothing else to do


def python(script: Path | str, *arguments: str) -> list[str]:
    """The command that runs a script with this interpreter."""
    return [sys.executable, str(script), *arguments]


@dataclass(slots=True)
class Listening:
    """A server in a process of its own.

    :ivar where: the last word of the line by which it said that it listens: a port or a path.
    :ivar process: its standard output is a pipe, its standard error is among it.
    """

    process: subprocess.Popen[bytes]
    where: str

    @property
    def port(self) -> int:
        return int(self.where)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        assert select([self.process.stdout], [], [], PATIENCE)[0], "the server prints nothing"
        return self.process.stdout.readline().decode()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Waits until the process ends, and returns its status."""
        return self.process.wait(PATIENCE)

    def rest(self) -> str:
        """What it printed since the last `line`, once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode()


@contextmanager
def listening(command: Sequence[str], cwd: Path | None = None) -> Iterator[Listening]:
    """Starts a server, and waits until it has said where it listens; kills what is left of it in the end."""
    with subprocess.Popen(
        command, bufsize=0, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            server = Listening(process, "")
            said = server.line()
            assert "listening on" in said or "serving on" in said, said + server.rest()
            server.where = said.split(" (")[0].split()[-1].rpartition("]")[2].rpartition(":")[2]
            yield server
        finally:
            process.kill()


def talk(command: Sequence[str], said: bytes) -> bytes:
    """What a client prints, once it has been told everything and its peer has answered."""
    done = subprocess.run(command, input=said, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr.decode())
    return done.stdout


@contextmanager
def connected(address: str | int) -> Iterator[socket.socket]:
    """A plain blocking socket, connected to a path or to a port of this machine."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        client.settimeout(PATIENCE)
        client.connect(address if isinstance(address, str) else ("127.0.0.1", address))
        yield client


def receive(client: socket.socket, size: int) -> bytes:
    """Exactly so many bytes, or fewer if the stream ends."""
    received = bytearray()
    while len(received) < size and (data := client.recv(size - len(received))):
        received += data
    return bytes(received)
