"""What can be measured: each piece of work, how, and what is aimed at. `WORKS` names them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks.connecting import Wanted
from benchmarks.load import Asked
from benchmarks.natives import TWINS
from benchmarks.processes import Server, prepared, started
from benchmarks.sampling import ASK, PARTS
from benchmarks.server import OURS

__all__ = ["QUICK", "WORKS", "Sample", "Work"]

COUNTS = (1, 10, 100, 1000, 10_000)  # connections at which a message is measured
BUSY = 0.95  # of a core; a server that did less was waiting for the load

Twins = Mapping[str, tuple[str, ...]]
"""What a subject of ours is held against."""
Goals = dict[tuple[str, str], float]
"""The ratio of one of ours to a twin that is aimed at; ``""`` instead of a twin for the figure itself."""

ALL: Twins = {OURS + name: twins for name, twins in TWINS.items()}
STREAMS: Twins = {ours: twins[:1] for ours, twins in ALL.items()}
FOR_LINES: Twins = {ours: tuple(twin for twin in twins if twin != "twisted coroutine") for ours, twins in ALL.items()}
LOOPS: Twins = {ours: twins for ours, twins in STREAMS.items() if ours != OURS + "threads"}


@dataclass(frozen=True)
class Sample:
    """One subject in one round.

    :ivar value: what counts, in the work's unit.
    :ivar details: what is told beside it.
    :ivar starved: whether the server was waiting for the load.
    """

    value: float
    details: dict[str, float] = field(default_factory=dict)
    starved: bool = False


@dataclass(frozen=True)
class Work(ABC):
    """:ivar unit: of what a sample's value is.
    :ivar more_is_better: whether a goal is the least that is aimed at, and not the most.
    """

    title: str
    _: KW_ONLY
    twins: Twins = field(default_factory=lambda: STREAMS)
    goals: Goals = field(default_factory=dict)
    unit: str = "CPU us a message"
    more_is_better: bool = False

    @abstractmethod
    def measure(self, subject: str, seconds: float) -> Sample: ...


@dataclass(frozen=True, kw_only=True)
class Loaded(Work):
    """Server CPU for a message, in a closed loop."""

    job: str = "echo"
    connections: int = 50
    size: int = 64
    depth: int = 1
    tls: bool = False

    def measure(self, subject: str, seconds: float) -> Sample:
        return self.measure_among(subject, seconds, self.connections, 0)

    def measure_among(self, subject: str, seconds: float, connections: int, idle: int) -> Sample:
        certificate = _certificate() if self.tls else None
        server_name, _, plain = subject.partition(", ")
        job = "echo" if plain else self.job
        with started(server_name, job, certificate) as server:
            asked = Asked(server.port, job, connections, self.size, self.depth, idle, seconds, certificate)
            with prepared("benchmarks.load", asdict(asked)) as go:
                cpu, found = _cpu_of(server, go)
        details = {name: found[name] for name in ("p50_us", "p99_us", "events")}
        details["per_second"] = found["messages"] / found["seconds"]
        return Sample(cpu / found["messages"] * 1e6, details, starved=cpu / found["seconds"] < BUSY)


@dataclass(frozen=True, kw_only=True)
class Spent(Work):
    """Which parts of the program have the server's CPU, in a closed loop."""

    def measure(self, subject: str, seconds: float) -> Sample:
        with started(subject, "echo", module="benchmarks.sampling") as server:
            asked = Asked(server.port, "echo", 50, 64, 1, 0, seconds, None)
            with prepared("benchmarks.load", asdict(asked)) as go:
                server.ask(ASK)  # what went before
                cpu, found = _cpu_of(server, go)
            ticks = server.ask(ASK)
        message = cpu / found["messages"] * 1e6
        spent = {part: message * ticks.get(part, 0) / sum(ticks.values()) for part in PARTS}
        return Sample(message, spent, starved=cpu / found["seconds"] < BUSY)


@dataclass(frozen=True, kw_only=True)
class Rising(Work):
    """How much more a message costs with many connections than with few, or among idle ones."""

    few: int
    many: int
    idle: int = 0
    unit: str = "times the CPU"

    def measure(self, subject: str, seconds: float) -> Sample:
        loaded = Loaded(self.title)
        few = loaded.measure_among(subject, seconds, self.few, 0)
        many = loaded.measure_among(subject, seconds, self.many, _as_many_as_fit(subject, self.idle))
        return Sample(many.value / few.value, {"few_us": few.value, "many_us": many.value}, few.starved or many.starved)


@dataclass(frozen=True, kw_only=True)
class Connecting(Work):
    """Server CPU for a connection that is accepted, says one message, and is closed."""

    unit: str = "CPU us a connection"

    def measure(self, subject: str, seconds: float) -> Sample:
        wanted = Wanted(port=0, count=int(5000 * seconds), at_once=50)
        cpu, found = _connected(subject, wanted)
        rate = found["connections"] / found["seconds"]
        return Sample(cpu / wanted.count * 1e6, {"per_second": rate}, starved=cpu / found["seconds"] < BUSY)


@dataclass(frozen=True, kw_only=True)
class Burst(Work):
    """How many connections a second a server takes that come all at once."""

    count: int
    unit: str = "connections a second"
    more_is_better: bool = True

    def measure(self, subject: str, seconds: float) -> Sample:
        cpu, found = _connected(subject, Wanted(port=0, count=self.count, at_once=self.count))
        return Sample(found["connections"] / found["seconds"], {"cpu_us": cpu / self.count * 1e6})


@dataclass(frozen=True, kw_only=True)
class Held(Work):
    """Memory of the server for a connection that says nothing."""

    count: int
    unit: str = "KiB a connection"

    def measure(self, subject: str, seconds: float) -> Sample:
        with started(subject, "echo") as server:
            few = Asked(server.port, "echo", 10, 64, 1, 0, 0.2, None)
            with prepared("benchmarks.load", asdict(few)) as go:  # what is imported and made once
                go()
                before = server.memory_bytes()
            count = _as_many_as_fit(subject, self.count)
            many = Asked(server.port, "echo", 10, 64, 1, count, 0.2, None)
            with prepared("benchmarks.load", asdict(many)) as go:
                go()
                after = server.memory_bytes()
        return Sample((after - before) / count / 1024)


@dataclass(frozen=True, kw_only=True)
class Inside(Work):
    """CPU of an operation within one process, see `benchmarks.inside`."""

    operation: str
    unit: str = "CPU us each"

    def measure(self, subject: str, seconds: float) -> Sample:
        command = [sys.executable, "-m", "benchmarks.inside", self.operation, subject, str(seconds)]
        return Sample(float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


@dataclass(frozen=True, kw_only=True)
class Importing(Work):
    """CPU that a program needs to begin, above one that imports nothing."""

    unit: str = "CPU ms"
    times: int = 10

    def measure(self, subject: str, seconds: float) -> Sample:
        modules = RUN_LOADS.get(subject, subject)
        return Sample((self._spent(f"import {modules}") - self._spent("pass")) * 1000)

    def _spent(self, program: str) -> float:
        """By the second start what was compiled has been kept."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        subprocess.run([sys.executable, "-c", program], check=True, env=environment)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(self.times):
            subprocess.run([sys.executable, "-c", program], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) / self.times


def _as_many_as_fit(subject: str, connections: int) -> int:
    """A thread of ours has a gate beside its socket, and a system may allow 20,000 descriptors."""
    return min(connections, 4000) if "threads" in subject else connections


def _connected(subject: str, wanted: Wanted) -> tuple[float, dict[str, Any]]:
    with started(subject, "echo") as server:
        first = asdict(wanted) | {"port": server.port, "count": 10, "at_once": 1}
        with prepared("benchmarks.connecting", first) as go:
            go()
        with prepared("benchmarks.connecting", asdict(wanted) | {"port": server.port}) as go:
            return _cpu_of(server, go)


def _cpu_of(server: Server, go: Any) -> tuple[float, dict[str, Any]]:
    before = server.cpu_seconds()
    found: dict[str, Any] = go()
    return server.cpu_seconds() - before, found


@cache
def _certificate() -> str:
    """One for ``localhost`` with its key, and itself its own authority."""
    import trustme

    authority = trustme.CA()
    file = Path(mkdtemp(prefix="bridgeio-bench-"), "certificate.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(file))
    authority.cert_pem.write_to_path(str(file), append=True)
    return str(file)


def _aims(**ratios: float) -> Goals:
    """Of each backend to the first of its twins."""
    return {(OURS + name, TWINS[name][0]): ratio for name, ratio in ratios.items()}


ECHO = _aims(asyncio=0.85, uvloop=0.95, trio=0.55, tornado=0.42, twisted=0.50, gevent=0.72, threads=1.15)
ANYIO = {(ours, twin): 0.30 for ours, twins in ALL.items() for twin in twins if twin.startswith("anyio")}
LARGE = _aims(asyncio=0.72, uvloop=0.65, trio=0.80, tornado=0.35, twisted=0.60, gevent=0.95, threads=1.15)
NO_MORE = {(ours, twins[0]): 1.0 for ours, twins in STREAMS.items()}
ENCRYPTED = {OURS + name: TWINS[name][:1] for name in ("asyncio", "uvloop", "trio", "tornado", "gevent", "threads")}
LIMITS = ("epoll in Python", "epoll in C")
WITH_LIMITS = {**ALL, OURS + "asyncio": (*TWINS["asyncio"], *LIMITS)}
LOOPS_AND_LIMITS = {**LOOPS, OURS + "asyncio": (*LOOPS[OURS + "asyncio"], *LIMITS)}
HELD: Twins = {  # on each event loop a connection is to be no larger than asyncio's stream
    ours: twins if ours in (OURS + "gevent", OURS + "threads") else tuple(dict.fromkeys((*twins, "asyncio streams")))
    for ours, twins in STREAMS.items()
}
NEAR_TRIO = {(ours, "trio SocketStream"): 0.8 for ours in LOOPS}
RISES = {(ours, twins[0]): 1.0 for ours, twins in LOOPS.items()} | {(ours, ""): 1.3 for ours in LOOPS}
TIMED = {ours: (f"{ours}, no timeout",) for ours in ALL}


def _inside(title: str, operation: str, twins: Twins, others: Goals | None = None, **goals: float) -> Inside:
    """:param others: goals to other twins than the first.
    :param goals: to the first of its twins, of each backend.
    """
    aims = {(OURS + name, twins[OURS + name][0]): ratio for name, ratio in goals.items()}
    return Inside(title, operation=operation, twins=twins, goals=aims | (others or {}))


ASYNCIO = {OURS + "asyncio": ("asyncio itself",), OURS + "uvloop": ("uvloop itself",)}
TRIO = {OURS + "trio": ("trio itself",)}
BOTH = {
    OURS + "asyncio": ("asyncio itself", "anyio on asyncio"),
    OURS + "uvloop": ("uvloop itself", "anyio on uvloop"),
    OURS + "trio": ("trio itself", "anyio on trio"),
}
SPAWNED_BY_ANYIO = {(OURS + "asyncio", "anyio on asyncio"): 0.5}
BY_SCOPES = {OURS + "asyncio": ("anyio on asyncio",), OURS + "uvloop": ("anyio on uvloop",), **TRIO}

IMPORTED = {"bridgeio": ("asyncio, ssl",), OURS + "asyncio": ("asyncio, ssl",)}
RUN_LOADS = {OURS + "asyncio": "bridgeio.oversight, bridgeio_asyncio.backend"}  # before the first task begins

WORKS: dict[str, Work] = {
    "echo": Loaded("64-byte echo, 50 connections", twins=WITH_LIMITS, goals=ECHO | ANYIO),
    "large": Loaded("64 KiB echo, 8 connections", connections=8, size=1 << 16, twins=WITH_LIMITS, goals=LARGE),
    "tls": Loaded("64-byte echo under TLS", tls=True, twins=ENCRYPTED, goals=_aims(asyncio=0.65)),
    "tls-large": Loaded("16 KiB echo under TLS", size=1 << 14, tls=True, twins=ENCRYPTED, goals=_aims(asyncio=0.85)),
    "connects": Connecting("connections that say one message", goals=NO_MORE),
    "lines": Loaded("64-byte lines, 50 connections", job="lines", twins=FOR_LINES, goals=ECHO | ANYIO),
    "pipelined": Loaded(
        "64-byte lines, 32 in flight on each of 50", job="lines", depth=32, twins=FOR_LINES, goals=ECHO | ANYIO
    ),
    "bulk-in": Loaded("1 MiB in, 8 connections", job="sink", connections=8, size=1 << 20, goals=NO_MORE),
    "bulk-out": Loaded("1 MiB out, 8 connections", job="source", connections=8, size=1 << 20, goals=NO_MORE),
    "burst": Burst(
        "4,000 connections at once", count=4000, twins=dict.fromkeys(LOOPS, ("trio SocketStream",)), goals=NEAR_TRIO
    ),
    "memory": Held(
        "10,000 idle connections",
        count=10_000,
        twins=HELD,
        goals={(ours, twins[-1]): 1.0 for ours, twins in HELD.items()},
    ),
    "among-idle": Rising(
        "50 busy among 10,000 idle", few=50, many=50, idle=10_000, goals={(ours, ""): 1.15 for ours in ALL}
    ),
    "rise": Rising("from 100 connections to 10,000", few=100, many=10_000, twins=LOOPS_AND_LIMITS, goals=RISES),
    **{
        f"at-{count}": Loaded(f"64-byte echo, {count:,} connections", connections=count, twins=LOOPS)
        for count in COUNTS
    },
    "timed-reads": Loaded(
        "64-byte echo under a timeout that each message sets anew",
        job="echo in time",
        twins=TIMED,
        goals={(ours, twins[0]): 1.1 for ours, twins in TIMED.items()},
    ),
    "where": Spent("where the time of a 64-byte echo goes", twins=dict.fromkeys(LOOPS, ())),
    "switch": _inside("two tasks that wake each other", "switch", BOTH, asyncio=1.2, trio=1.1),
    "spawn": _inside("a task started and joined", "spawn", BOTH, SPAWNED_BY_ANYIO, asyncio=1.2, trio=1.1),
    "queue": _inside("a queue's put and get", "queue", ASYNCIO, asyncio=1.2),
    "stream": _inside("a memory stream's send and receive", "stream", BY_SCOPES, asyncio=0.3, trio=1.1),
    "lock": _inside("a lock that is free", "lock", BOTH, asyncio=1.2, trio=1.1),
    "scope": _inside("a block that can be cancelled", "scope", BOTH, asyncio=0.3, trio=1.15),
    "timeout": _inside("a block that has a deadline", "timeout", BOTH, asyncio=0.5, trio=1.15),
    "import": Importing("what a program imports", twins=IMPORTED, goals={("bridgeio", "asyncio, ssl"): 0.7}),
}
QUICK = ("echo", "large", "tls", "tls-large", "connects")
