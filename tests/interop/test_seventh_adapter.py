"""A stranger's adapter, built and installed as a stranger would, runs the public kit and passes it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from checkout import ROOT
from fresh import run
from needs import absent

SEVENTH = ROOT / "examples" / "adapters" / "bridgeio_curio"

pytestmark = [
    pytest.mark.skipif(sys.version_info >= (3, 12), reason="curio 1.6 cannot be imported on Python 3.12 or later"),
    pytest.mark.timeout(240),  # it builds a wheel, and then runs a whole suite
]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the adapter is installed beside the bridgeio under test, with its entry point."""
    folder = tmp_path_factory.mktemp("seventh")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-deps", "--target", folder, sources(folder), cwd=folder)
    path = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def sources(folder: Path) -> Path:
    """A copy to build from: building writes into the tree."""
    return copytree(SEVENTH, folder / "sources", ignore=ignore_patterns("build", "*.egg-info", "__pycache__"))


def test_it_changes_nothing_in_bridgeio() -> None:
    """bridgeio does not know it: neither the core nor an adapter of ours names its framework."""
    ours = [*ROOT.glob("bridgeio/**/*.py"), *ROOT.glob("adapters/**/*.py")]
    assert [file for file in ours if "curio" in file.read_text()] == []


def test_it_passes_the_unmodified_kit(installed: dict[str, str], request: pytest.FixtureRequest) -> None:
    """Every chapter of the kit, by one import; and what is peculiar to it. What it lacks is listed with its reason."""
    needs_curio()
    plugin = "bridgeio.testing.plugin"
    by_hand = ["-p", plugin] if request.config.pluginmanager.hasplugin(plugin) else []
    # -P, else Python would put the current folder first, and with it the adapter's sources.
    command = [sys.executable, "-P", "-m", "pytest", *by_hand, "-p", "no:cacheprovider", "--timeout=20", "-rs"]
    done = subprocess.run(command, cwd=SEVENTH, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"curio 1.6: {Path(installed['PYTHONPATH'].split(os.pathsep)[0]) / 'bridgeio_curio'}" in done.stdout
    assert "does not promise native_tasks: curio tells nobody" in done.stdout
    assert "only bridgeio's word" not in done.stdout
    for promise in ("orderly_exit", "async_generators", "freed_at_once"):
        assert f"does not promise {promise}: " in done.stdout
    conformance = (SEVENTH / "tests" / "test_conformance.py").read_text().splitlines()
    assert [line for line in conformance[1:] if line] == ["from bridgeio.testing.suite import *  # noqa: F403"]


def test_it_is_a_backend_like_any_other(installed: dict[str, str]) -> None:
    """``bridgeio backends`` lists it with what it does not promise, and ``demo`` echoes through it."""
    needs_curio()
    listed, echoed = (
        subprocess.run(
            [sys.executable, "-m", "bridgeio", command], env=installed, capture_output=True, text=True, check=True
        ).stdout
        for command in ("backends", "demo")
    )
    row = listed.index("curio      installed, curio 1.6")
    assert "does not promise native_tasks" in listed[row:].splitlines()[1]
    assert next(line for line in echoed.splitlines() if line.startswith("curio")).split()[-2] == "yes"


def needs_curio() -> None:
    if find_spec("curio") is None:
        absent("curio is not installed")
