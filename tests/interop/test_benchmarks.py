"""The benchmarks measure what they say: a server that lies or leaves ends a run, and a run tells of both sides."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from checkout import ROOT

ASKED: dict[str, Any] = {
    "job": "echo",
    "connections": 2,
    "size": 64,
    "depth": 1,
    "idle": 0,
    "seconds": 0.1,
    "certificate": None,
}


@contextmanager
def server(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """Answers whatever comes with what the function makes of it; nothing ends the connection. Its port."""

    def serve(sock: socket.socket) -> None:
        with sock, suppress(OSError):  # a load that complains leaves without reading the rest
            while reply := answer(sock.recv(65536)):
                sock.sendall(reply)

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)  # so that nobody accepts any more


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A module of the checkout, with the load's word to begin given before."""
    return run_python("-m", *arguments)


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, *arguments]
    return subprocess.run(command, input="\n", capture_output=True, text=True, check=False, env=environment)


def test_the_load_counts_what_was_answered() -> None:
    """An honest server has its messages counted, and the time that they took."""
    with server(lambda data: data) as port:
        done = run("benchmarks.load", json.dumps(ASKED | {"port": port}))
    found = json.loads(done.stdout)
    assert found["messages"] > 0
    assert 0 < found["p50_us"] <= found["p99_us"]
    assert found["seconds"] >= ASKED["seconds"]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        pytest.param(lambda data: data[:-2] + b"!\n", "expected b'00000", id="a wrong byte"),
        pytest.param(lambda data: data + data, "expected b'0000", id="too much"),
        pytest.param(lambda data: b"", "dropped a connection", id="the end"),
    ],
)
def test_a_server_that_is_wrong_ends_the_run(answer: Callable[[bytes], bytes], complaint: str) -> None:
    """Every byte is compared, and nobody may leave."""
    with server(answer) as port:
        done = run("benchmarks.load", json.dumps(ASKED | {"port": port}))
    assert done.returncode != 0
    assert complaint in done.stderr


def test_a_message_is_paid_for_in_parts(tmp_path: Path) -> None:
    """What its parts cost is what it costs, and the system calls are never for nothing."""
    done = run("benchmarks", "where", "--backend", "asyncio", "--rounds", "1", "--record", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (sample,) = json.loads((tmp_path / "where.json").read_text())["samples"]["bridgeio on asyncio"]
    parts = sample["details"]
    assert sum(parts.values()) == pytest.approx(sample["value"])
    assert parts["send"] > 0
    assert parts["framework"] + parts["poll"] > 0


def test_a_run_tells_of_both_sides(tmp_path: Path) -> None:
    """A table on the screen, and every sample of each subject in the record."""
    options = ["--backend", "asyncio", "--rounds", "1", "--seconds", "0.02", "--record", str(tmp_path)]
    done = run("benchmarks", "lock", *options)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "lock.json").read_text())
    assert list(record["samples"]) == ["bridgeio on asyncio", "asyncio itself", "anyio on asyncio"]
    assert all(len(taken) == 1 and taken[0]["value"] > 0 for taken in record["samples"].values())
    assert all(subject in done.stdout for subject in record["samples"])
    assert done.stdout.strip() in (tmp_path / "lock.md").read_text()
    (told,) = [line for line in (tmp_path / "summary.md").read_text().splitlines() if "a lock that is free" in line]
    ratio = float(told.split("|")[4])
    mine, theirs = (record["samples"][subject][0]["value"] for subject in ("bridgeio on asyncio", "asyncio itself"))
    assert ratio == pytest.approx(mine / theirs, abs=0.01)
    assert ("missed" in told) == (ratio > 1.2)


def test_goals_stand_beside_what_a_bare_loop_costs(tmp_path: Path) -> None:
    """Nothing that runs Python for a message can cost less than that: such a goal can be told from others."""
    samples = {"bridgeio on asyncio": 9.0, "asyncio streams": 12.0, "epoll in Python": 6.0}
    record = {"samples": {subject: [{"value": value}] for subject, value in samples.items()}}
    (tmp_path / "echo.json").write_text(json.dumps(record))
    code = "import pathlib, sys, benchmarks.summary as s; s.write_summary(pathlib.Path(sys.argv[1]))"
    assert run_python("-c", code, str(tmp_path)).returncode == 0
    row = (tmp_path / "summary.md").read_text().splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[4:8]] == ["0.75", "0.85", "", "0.50"]


def test_what_is_measured_by_default_and_what_cannot_be() -> None:
    """`nox -s bench` gives no name; a name that is none is refused, and told what there is."""
    code = "from benchmarks.__main__ import options_of; print(*options_of([]).work, *options_of(['lock']).work)"
    assert run_python("-c", code).stdout.split() == ["echo", "large", "tls", "tls-large", "connects", "lock"]
    for wrong, there_is in ((["ecko"], "there is no 'ecko'; there are echo, "), (["--backend", "tiro"], "trio")):
        done = run("benchmarks", *wrong)
        assert done.returncode == 2
        assert there_is in done.stderr
