"""A test that fails sometimes is a bug found. Nothing here runs it again or waits until it passes."""

from __future__ import annotations

import ast
from importlib import metadata
from pathlib import Path

import pytest

from checkout import ROOT, python_files, relative

RERUN_DISTRIBUTIONS = {"pytest-rerunfailures", "flaky", "pytest-retry"}
RERUN_OPTIONS = ("--reruns", "--force-flaky", "--retries", "rerunfailures", "flaky")
RERUN_MARKS = {"flaky", "rerun", "retry"}
CONFIGURATION = ("setup.cfg", "pyproject.toml", "noxfile.py", ".ci/run")

# file: why it has to let real time pass
SLEEPERS: dict[str, str] = {}


def test_no_rerun_plugin_is_installed() -> None:
    """Where the tests run, nothing is installed that would run a failed test again."""
    installed = {distribution.metadata["Name"].lower() for distribution in metadata.distributions()}
    assert installed & RERUN_DISTRIBUTIONS == set()


@pytest.mark.parametrize("name", CONFIGURATION)
def test_no_rerun_is_configured(name: str) -> None:
    """No option and no setting asks for a second try."""
    settings = ROOT / name
    text = settings.read_text(encoding="utf-8") if settings.exists() else ""
    assert [option for option in RERUN_OPTIONS if option in text] == []


def test_no_test_asks_for_a_second_try() -> None:
    """No test carries a mark that would run it again."""
    asking = [relative(file) for file in python_files("tests") if marks(file) & RERUN_MARKS]
    assert asking == []


def test_no_test_sleeps() -> None:
    """Tests wait for conditions: a sleep is too short on a busy machine and too long on every other."""
    assert sorted(set(sleeping_files()) - set(SLEEPERS)) == []


def test_the_list_of_sleepers_names_no_other() -> None:
    """A test that was mended leaves the list."""
    assert set(SLEEPERS) <= set(sleeping_files())


def sleeping_files() -> list[str]:
    return [relative(file) for file in python_files("tests") if sleeps(file)]


def sleeps(file: Path) -> bool:
    """Whether a file calls the blocking sleep: in its code, or in code it hands to another interpreter."""
    called = "time." + "sleep("  # put together, or this file would find itself
    return called in file.read_text(encoding="utf-8") or imports_sleep(file)


def imports_sleep(file: Path) -> bool:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            if any(alias.name == "sleep" for alias in node.names):
                return True
        if isinstance(node, ast.Import) and any(alias.name == "time" and alias.asname for alias in node.names):
            return True  # under another name nobody would find it
    return False


def marks(file: Path) -> set[str]:
    """The names of all pytest marks that a file uses."""
    return {
        node.attr
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "mark"
    }
