"""`bridgeio demo`: one coroutine on every backend, and a look at every byte that comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from time import monotonic
from typing import TextIO

from bridgeio.client import open_connection
from bridgeio.errors import BackendNotInstalledError
from bridgeio.groups import create_task_group
from bridgeio.limits import LIMIT
from bridgeio.reader import Reader
from bridgeio.registry import adapter, backend, current_backend, is_installed, known_backends
from bridgeio.running import run
from bridgeio.scopes import fail_after
from bridgeio.server import serve
from bridgeio.writer import Writer

__all__ = ["Outcome", "demo", "echo_client", "shipped_text", "try_backend"]

STALLED_AFTER = 30.0  # seconds without an answer when a backend is given up
COLUMNS = "{:<10} {:<29} {:>9} {:>12} {:>9} {:>9}"


async def echo_client(reader: Reader, writer: Writer) -> None:
    """The one source that every backend runs."""
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


@dataclass(slots=True)
class Outcome:
    """What one backend did with the text."""

    backend: str
    version: str = ""
    lines: int = 0
    bytes: int = 0
    seconds: float = 0.0
    missing: str = ""
    failure: str = ""

    @property
    def held(self) -> bool:
        return not self.failure


def shipped_text() -> bytes:
    """The text that comes with the package."""
    return files("bridgeio").joinpath("demo_text.txt").read_bytes()


def demo(text: bytes, connections: int, out: TextIO = sys.stdout, progress: TextIO = sys.stderr) -> bool:
    """Runs every known backend over the text and prints a table; whether all that could run held."""
    print(COLUMNS.format("backend", "framework", "lines", "bytes", "verified", "seconds"), file=out, flush=True)
    outcomes = []
    for name in known_backends():
        outcome = try_backend(name, text, connections, _Progress(name, text, progress))
        outcomes.append(outcome)
        print(_row(outcome), file=out, flush=True)
    held = [outcome for outcome in outcomes if outcome.held and not outcome.missing]
    could = [outcome for outcome in outcomes if not outcome.missing]
    print(f"{len(held)} of {len(could)} installed backends echoed every byte", file=out, flush=True)
    return bool(could) and len(held) == len(could)


def try_backend(name: str, text: bytes, connections: int, progress: Callable[[int], None]) -> Outcome:
    """One backend, from its start to its end."""
    outcome = Outcome(name)
    if not is_installed(name):
        described = adapter(name)
        outcome.missing = f'{described.framework} is not installed: pip install "{described.install}"'
        return outcome
    started = monotonic()
    try:
        outcome.version = " ".join(f"{what} {number}" for what, number in backend(name).versions().items())
        run(_echo_all, outcome, text, connections, progress, backend=name)
    except BackendNotInstalledError as error:
        outcome.missing = str(error)
    except Exception as error:
        outcome.failure = _in_one_line(error)
    finally:
        outcome.seconds = monotonic() - started
        progress(-1)
    return outcome


async def _echo_all(outcome: Outcome, text: bytes, connections: int, progress: Callable[[int], None]) -> None:
    if current_backend() != outcome.backend:
        raise RuntimeError(f"ran on {current_backend()} instead")
    lines = _lines(text)
    limit = max(LIMIT, max(map(len, lines)) + 1)
    async with serve(echo_client, "127.0.0.1", limit=limit) as server, create_task_group() as group:
        for first in range(connections):
            group.start_soon(_echo_some, server.port, limit, lines[first::connections], outcome, progress)


async def _echo_some(
    port: int, limit: int, lines: list[bytes], outcome: Outcome, progress: Callable[[int], None]
) -> None:
    reader, writer = await open_connection("127.0.0.1", port, limit=limit)
    async with writer:
        answer = b""
        for line in lines:
            with fail_after(STALLED_AFTER):
                writer.write(line)
                if not line.endswith(b"\n"):
                    writer.write_eof()
                await writer.drain()
                answer = await reader.readline()
            if answer != line:
                raise ValueError(f"sent {line[:40]!r}, got {answer[:40]!r} back")
            outcome.lines += 1
            outcome.bytes += len(line)
            progress(outcome.bytes)


def _lines(text: bytes) -> list[bytes]:
    r"""Lines as a stream has them: ended by ``\n``, and by nothing else."""
    parts = text.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _row(outcome: Outcome) -> str:
    if outcome.missing:
        return f"{outcome.backend:<10} {outcome.missing}"
    verified = "yes" if outcome.held else "NO"
    row = COLUMNS.format(
        outcome.backend, outcome.version, outcome.lines, outcome.bytes, verified, f"{outcome.seconds:.2f}"
    )
    return row if outcome.held else f"{row}\n           {outcome.failure}"


def _in_one_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".replace("\n", " ")


class _Progress:
    """A line that is written over and over, on a terminal only."""

    def __init__(self, name: str, text: bytes, out: TextIO) -> None:
        self._name = name
        self._total = max(len(text), 1)
        self._out = out if out.isatty() else None
        self._shown = -1

    def __call__(self, done: int) -> None:
        if self._out is None:
            return
        if done < 0:
            self._out.write("\r\x1b[K")
        elif (percent := done * 100 // self._total) != self._shown:
            self._shown = percent
            self._out.write(f"\r{self._name:<10} {percent:3d} % of {self._total} bytes")
        self._out.flush()
