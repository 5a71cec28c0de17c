"""Interpreters that know nothing yet: a fresh process, a fresh virtual environment."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import venv
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

from checkout import written_packages

__all__ = ["Distributions", "Environment", "plugin_options", "run", "run_isolated"]


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a command prints; what it complained about when it fails."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        shown = " ".join(map(str, command))
        raise AssertionError(f"{shown}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def run_isolated(code: str, cwd: Path) -> str:
    """Run code in an interpreter that has nothing on its path but the standard library and the bridgeio under test.

    -I ignores the environment and the current folder. -S leaves out site, because the hook of an editable install
    imports half the standard library and would hide what we import ourselves.
    """
    path = f"import sys; sys.path[:0] = {source_roots()!r}\n"
    return run(sys.executable, "-I", "-S", "-c", path + code, cwd=cwd)


def plugin_options() -> list[str]:
    """What a session of its own needs to be told so that it has our plugin: nothing where that is installed."""
    installed = any(entry.value == "bridgeio.testing.plugin" for entry in entry_points(group="pytest11"))
    return [] if installed else ["-p", "bridgeio.testing.plugin"]


class Distributions(NamedTuple):
    """What a release consists of."""

    wheel: Path
    sdist: Path


def source_roots() -> list[str]:
    """The folders from which the packages under test come: one when installed, two in a checkout."""
    specs = [importlib.util.find_spec(name) for name in written_packages() if "." not in name]
    return sorted({str(Path(spec.origin).parents[1]) for spec in specs if spec and spec.origin})


class Environment:
    """A virtual environment with nothing in it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True, symlinks=True)
        self.programs = folder / "bin"
        self.python = self.programs / "python"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()

    def pip(self, *arguments: str | Path) -> str:
        return self.run("python", "-m", "pip", "--disable-pip-version-check", *arguments)

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run one of its programs, far from the checkout."""
        return run(self.programs / program, *arguments, cwd=self.elsewhere)
