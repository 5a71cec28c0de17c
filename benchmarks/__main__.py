"""The run: servers take turns, A B A B, over several rounds; medians are printed.

The figure that counts is the server process's CPU time per message (user and system), as a ratio to
the framework's own way in the same run: throughput and latency depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.encrypted import PAIRS, make_certificate
from benchmarks.natives import TWINS
from bridgeio.registry import available_backends, backend

TICKS = os.sysconf("SC_CLK_TCK")
BUSY = 0.95  # of a core; a server that did less was waiting for the load


@dataclass(frozen=True)
class Sample:
    """One server in one round."""

    cpu_us: float
    per_second: float
    p50_us: float
    p99_us: float
    busy: float


def main() -> None:
    options = _options()
    twins = PAIRS if options.tls else TWINS
    names = list(options.backend or [name for name in available_backends() if name in twins])
    servers = [server for name in names for server in (f"bridgeio on {name}", *twins.get(name, ()))]
    samples: dict[str, list[Sample]] = {server: [] for server in servers}
    with TemporaryDirectory() as folder:
        certificate = [str(make_certificate(Path(folder)))] if options.tls else []
        for number in range(options.rounds):
            for server in servers:
                _progress(f"round {number + 1} of {options.rounds}: {server}")
                samples[server].append(measure(server, options, certificate))
    _progress("")
    print(table(names, samples, options, twins))
    if options.json:
        options.json.write_text(json.dumps(record(samples, options), indent=1) + "\n")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<60}\r", end="", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--backend", action="append", metavar="NAME", help="only this one; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load, for each server in each round")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--bytes", type=int, default=64, help="in a message")
    parser.add_argument("--tls", action="store_true", help="encrypted, beside each framework's own TLS")
    parser.add_argument("--json", type=Path, metavar="FILE", help="writes every sample there, too")
    return parser.parse_args()


def measure(server: str, options: argparse.Namespace, certificate: list[str]) -> Sample:
    asked = [str(options.connections), str(options.bytes), str(options.seconds), *certificate]
    with started(server, certificate) as (process, port), loading(port, *asked) as go:
        before = cpu_seconds(process.pid)
        result = json.loads(go())
        cpu = cpu_seconds(process.pid) - before
    messages, loaded = result["messages"], result["seconds"]
    return Sample(
        cpu_us=cpu / messages * 1e6,
        per_second=messages / loaded,
        p50_us=result["p50_us"],
        p99_us=result["p99_us"],
        busy=cpu / loaded,
    )


@contextmanager
def loading(*asked: str) -> Iterator[Callable[[], str]]:
    """A load that is connected, and begins when it is told to; that gives what it has measured."""
    command = [sys.executable, "-m", "benchmarks.load", *asked]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:

        def answer() -> str:
            assert load.stdout is not None
            line = load.stdout.readline()
            if not line:
                raise subprocess.CalledProcessError(load.wait(), command)  # it has said why
            return line

        def go() -> str:
            assert load.stdin is not None
            load.stdin.write("\n")
            load.stdin.flush()
            return answer()

        answer()
        yield go


@contextmanager
def started(server: str, certificate: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "benchmarks.server", server, *certificate]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise SystemExit(f"the server {server!r} did not start; try: {' '.join(command)}")
            yield process, port
        finally:
            process.kill()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all its threads, as Linux counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def table(
    names: list[str], samples: dict[str, list[Sample]], options: argparse.Namespace, twins: dict[str, tuple[str, ...]]
) -> str:
    work = f"{options.bytes}-byte echo" + (" under TLS" if options.tls else "")
    lines = [
        f"{work}, {options.connections} connections, {options.rounds} rounds, {options.seconds:g} s",
        "server CPU microseconds per message, median [least, most]",
        f"{'server':<28}{'CPU us':>8}  {'[least, most]':<18}{'ratio':>7}{'messages/s':>12}{'p50 us':>9}{'p99 us':>9}",
    ]
    for name in names:
        ours = f"bridgeio on {name}"
        lines.append(_row(ours, samples[ours], None))
        for twin in twins.get(name, ()):
            lines.append(_row(twin, samples[twin], _ratio(samples[ours], samples[twin])))
    lines.append("ratio: bridgeio's CPU per message to this server's; * the load, not the server, was the limit")
    return "\n".join(lines)


def _row(server: str, taken: list[Sample], ratio: float | None) -> str:
    cpu = [sample.cpu_us for sample in taken]
    spread = f"[{min(cpu):.2f}, {max(cpu):.2f}]"
    starved = "*" if median(sample.busy for sample in taken) < BUSY else " "
    return (
        f"{server:<28}{median(cpu):>8.2f}{starved} {spread:<18}{'' if ratio is None else f'{ratio:.2f}':>7}"
        f"{median(s.per_second for s in taken):>12.0f}{median(s.p50_us for s in taken):>9.0f}"
        f"{median(s.p99_us for s in taken):>9.0f}"
    )


def _ratio(ours: list[Sample], theirs: list[Sample]) -> float:
    """The median of the rounds' ratios: what drifts between rounds drifts for both."""
    return median(a.cpu_us / b.cpu_us for a, b in zip(ours, theirs, strict=True))


def record(samples: dict[str, list[Sample]], options: argparse.Namespace) -> dict[str, object]:
    versions = {name: backend(name).versions() for name in available_backends()}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": versions,
        "connections": options.connections,
        "tls": options.tls,
        "bytes": options.bytes,
        "seconds": options.seconds,
        "samples": {server: [asdict(sample) for sample in taken] for server, taken in samples.items()},
    }


if __name__ == "__main__":
    main()
