"""A server and its load, each a process of its own, and what the system tells of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

__all__ = ["Server", "prepared", "started"]

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """:ivar output: what it prints after its port."""

    pid: int
    port: int
    output: IO[str]

    def cpu_seconds(self) -> float:
        """User and system time of the process and all its threads, as Linux counts them: in hundredths."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_bytes(self) -> int:
        """What is its own alone, and not shared with other processes."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))

    def ask(self, signum: int) -> dict[str, Any]:
        """What it answers to a signal."""
        os.kill(self.pid, signum)
        answer: dict[str, Any] = json.loads(self.output.readline())
        return answer


@contextmanager
def started(name: str, job: str, certificate: str | None = None, module: str = "benchmarks.server") -> Iterator[Server]:
    command = [sys.executable, "-m", module, name, job, *([certificate] if certificate else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise SystemExit(f"the server {name!r} did not start; try: {' '.join(map(repr, command))}")
            yield Server(process.pid, int(port), process.stdout)
        finally:
            process.kill()


@contextmanager
def prepared(module: str, asked: dict[str, Any]) -> Iterator[Callable[[], dict[str, Any]]]:
    """A client that has made its connections, and begins when it is told to; that gives what it has measured."""
    command = [sys.executable, "-m", module, json.dumps(asked)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:

        def answer() -> str:
            assert client.stdout is not None
            line = client.stdout.readline()
            if not line:  # it has said why
                raise SystemExit(f"a client failed with {client.wait()}; it was: {' '.join(map(repr, command))}")
            return line

        def go() -> dict[str, Any]:
            assert client.stdin is not None
            client.stdin.write("\n")
            client.stdin.flush()
            found: dict[str, Any] = json.loads(answer())
            return found

        try:
            answer()
            yield go
        finally:
            client.kill()
