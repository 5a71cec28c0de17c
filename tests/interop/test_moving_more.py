"""What the guides on asyncore and on threads show beside the steps that all guides have."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from moving import AFTER, CHECKS, MOVING, Lockers, check_sigterm, is_there, lockers
from needs import absent
from programs import PATIENCE, python

CALLING = MOVING / "threads" / "client_between.py"


@pytest.mark.bridgeio
def test_asyncore_beside_each_framework(backend: str) -> None:
    """asyncore's loop and any backend behind the portal keep the same lockers, and end together."""
    if not is_there("asyncore"):
        absent("asyncore is not installed")
    with lockers(MOVING / "asyncore" / "between.py", "--backend", backend) as server:
        check_all(server)
        check_sigterm(server)


@pytest.mark.bridgeio
def test_the_old_lockers_behind_the_new_server(backend: str) -> None:
    """Code that blocks in threads is waited for on every backend, and left behind by a server that ends."""
    with lockers(MOVING / "threads" / "server_first.py", "--backend", backend) as server:
        check_all(server)
        check_sigterm(server)


def test_the_client_for_callers_that_block() -> None:
    """Its class has the old methods, and answers, and failures, as before."""
    with lockers(AFTER) as server:
        number = server.unused()
        done = run(server.ports[0], f"PUT {number} two words", f"TAKE {number} 0", f"TAKE {number} 0.01")
        assert (done.stdout.split("\n"), done.stderr) == (["OK", "TEXT two words", "EMPTY", ""], "")
        assert run(server.ports[0], "QUIT", "LOOK 1").stderr.startswith("no answer: ")  # hung up, or already reset
    assert run(server.ports[0], "LOOK 1").stderr.startswith("no answer: could not connect")


def check_all(server: Lockers) -> None:
    for check in CHECKS:
        for one, other in server.ways():
            check(one, other, server.unused())


def run(port: int, *requests: str, script: Path = CALLING) -> subprocess.CompletedProcess[str]:
    command = python(script, "--patience", "100", "--port", str(port), *requests)
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
