"""The test run: `nox` alone is all of it, `nox -s thorough` the full product, before an issue is called done.

Rule 1: a session tests what a user would get: the installed wheel, never the checkout. So it calls `pytest`, because
        `python -m pytest` puts the checkout first on the path and mixes the two.
Rule 2: nothing is left out in silence. A missing interpreter is a visible skip on a user's machine and an error in CI.
Rule 3: a run that fails says which command repeats it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13"]
FIRST_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"  # whichever a user has, everything runs on it
OTHER_PYTHONS = [version for version in PYTHONS if version != FIRST_PYTHON]
FRAMEWORKS = ["trio", "tornado", "twisted", "gevent", "uvloop"]
IN_CI = bool(os.environ.get("CI") or os.environ.get("BRIDGEIO_CI"))

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["house", "core_only", "tests", "backends", "docs"]
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = IN_CI
nox.options.download_python = "never"  # whether an interpreter is missing is for the user to see, see rule 2


@nox.session(python=FIRST_PYTHON)
def tests(session: nox.Session) -> None:
    """Everything, on one Python."""
    install(session, "test")
    run_pytest(session, "tests")


@nox.session(python=OTHER_PYTHONS)
def backends(session: nox.Session) -> None:
    """All backends once more on the oldest and the newest Python, two that Python itself brings on what is between;
    without the sweeps, which take long."""
    install(session, "test")
    between = session.python not in (PYTHONS[0], PYTHONS[-1])
    more = [] if between else ["tests/adapters", "tests/model"]
    chosen = ["--backend", "asyncio", "--backend", "threads"] if between else []
    run_pytest(session, "tests/conformance", *more, options=[*chosen, "-k", "not swept"])


@nox.session(python=FIRST_PYTHON)
def core_only(session: nox.Session) -> None:
    """The core where no framework is installed."""
    install(session)
    session.install("pytest>=9.0", "pytest-timeout>=2.3.1")
    session.run("python", "-I", "-c", REFUSE_FRAMEWORKS, *FRAMEWORKS)
    run_pytest(session, "tests/core")


REFUSE_FRAMEWORKS = """
import sys
from importlib.util import find_spec
import bridgeio

present = [name for name in sys.argv[1:] if find_spec(name)]
sys.exit(f"not alone here: {present}" if present else 0)
"""


@nox.session(python=FIRST_PYTHON)
def house(session: nox.Session) -> None:
    """Style, types and layers."""
    install(session, "test")
    session.install("pyright[nodejs]", "nox")  # Node.js is not on every machine; this file is checked too
    checks = ["ruff check .", "ruff format --check .", "mypy", "pyright", "lint-imports --no-cache --no-logo"]
    failed = [check for check in checks if not passes(session, *check.split())]
    if failed:
        session.error(f"failed: {', '.join(failed)}; to repeat this run: {repeat_command(session)}")


@nox.session(python=FIRST_PYTHON)
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    install(session, "all,docs")
    if not present(session, "docs/conf.py"):
        session.skip("there is no docs/conf.py yet")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", str(ROOT / "docs" / "_build" / "html"))


@nox.session(python=FIRST_PYTHON)
def bench(session: nox.Session) -> None:
    """Every backend beside its framework's own way: small and large messages, TLS, connects; some ten minutes."""
    benchmarks(session, session.posargs)


@nox.session(name="bench-full", python=FIRST_PYTHON)
def bench_full(session: nox.Session) -> None:
    """All that can be measured, with more rounds; three quarters of an hour."""
    benchmarks(session, ["all", "--rounds", "5", *session.posargs])


def benchmarks(session: nox.Session, arguments: Sequence[str]) -> None:
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *arguments)


@nox.session(python=PYTHONS)
def thorough(session: nox.Session) -> None:
    """The full product of Pythons, reactors, patched and plain."""
    install(session, "test")
    runs = [(world, pytest_in(session, world)) for world in WORLDS]
    failed = [(world, command) for world, command in runs if not passes(session, *command, env=world)]
    if failed:
        session.error("to repeat what failed: " + "; ".join(repeat_in(session, *run) for run in failed))


# What the pytest plugin is told: Twisted's reactor, and whether gevent patches the standard library.
WORLDS: list[dict[str, str]] = [
    {},
    *({"BRIDGEIO_REACTOR": reactor} for reactor in ["epoll", "poll", "select", "asyncio"]),
    {"BRIDGEIO_PATCHED": "1"},
]


def pytest_in(session: nox.Session, world: dict[str, str]) -> list[str]:
    """The command for one world. A reactor is news to Twisted only, and a patched process is for gevent only: there
    the other frameworks' own threads are greenlets, asyncio waits for them for ever, and a worker is not heard."""
    if session.posargs:
        return ["pytest", *session.posargs]
    if not world:
        return ["pytest", *side_by_side(session), "tests"]
    if "BRIDGEIO_REACTOR" in world:
        tests = ["tests/conformance", "tests/adapters/test_twisted.py", "tests/model"]
        return ["pytest", *side_by_side(session), "--backend", "twisted", *tests]
    return ["pytest", "tests/conformance", "tests/model"]


def repeat_in(session: nox.Session, world: dict[str, str], command: list[str]) -> str:
    """Straight from the session's environment: through nox it would run in all the other worlds too."""
    program = Path(session.bin, command[0]).relative_to(ROOT)
    return shlex.join([*map("=".join, world.items()), str(program), *command[1:]])


def install(session: nox.Session, extras: str = "") -> None:
    """Install the package as a user would, from a build that knows no file of an earlier one."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools ships what it finds there, deleted modules too
    session.install(f".[{extras}]" if extras else ".")


def run_pytest(session: nox.Session, *paths: str, options: Sequence[str] = ()) -> None:
    found = present(session, *paths)
    if not (session.posargs or found):
        session.skip(f"none of {', '.join(paths)} is there yet")
    arguments = session.posargs or [*found, *options]
    if not passes(session, "pytest", *side_by_side(session), *arguments):
        session.error(f"to repeat this run: {repeat_command(session, *arguments)}")


def side_by_side(session: nox.Session) -> list[str]:
    """A worker more than there are cores: most tests wait for something. A file stays with one worker, and what a
    user asks for, or the few tests of the core, are not worth the start of workers. A worker that ends amid
    a test, because that hung, is not replaced: the next would begin with the same test."""
    workers = (os.cpu_count() or 1) + 1
    quick = session.posargs or session.name == "core_only"
    return [] if quick else [f"--numprocesses={workers}", "--dist=loadfile", "--max-worker-restart=0"]


def passes(session: nox.Session, *command: str, env: dict[str, str] | None = None) -> bool:
    """Whether a command passes. One that fails does not hide what the next one would say."""
    try:
        session.run(*command, env=env)
    except CommandFailed:
        return False
    return True


def present(session: nox.Session, *paths: str) -> list[str]:
    """The paths that exist; each one that does not is named."""
    for path in paths:
        if not (ROOT / path).exists():
            session.warn(f"{path} is not there")
    return [path for path in paths if (ROOT / path).exists()]


def repeat_command(session: nox.Session, *arguments: str) -> str:
    """Not with nox -R: that would leave the package as it was installed, whatever was mended since."""
    ci = "BRIDGEIO_CI=1 " if IN_CI else ""
    return ci + shlex.join(["nox", "-s", session.name, *(["--", *arguments] if arguments else [])])
