"""The rooms of the house, arrows only downwards. setup.cfg draws them, import-linter checks them, this checks both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT, declared, imports, python_files, relative, written_packages

FRAMEWORKS = {"asyncio", "uvloop", "trio", "tornado", "twisted", "gevent", "greenlet", "curio", "anyio"}

# One import that each contract exists to refuse: (file, import, words of the contract that refuses it)
REFUSED = {
    "an arrow upwards": ("bridgeio/errors.py", "import bridgeio.registry", "Rooms of the core"),
    "a framework in the core": ("bridgeio/scopes.py", "import trio", "imports no framework"),
    "asyncio in the core": ("bridgeio/scopes.py", "import asyncio.events", "imports no framework"),
    "pytest outside testing": ("bridgeio/scopes.py", "import pytest", "pytest only"),
    "an adapter in the core": ("bridgeio/scopes.py", "import bridgeio_asyncio", "knows no adapter"),
    "an adapter above the contract": (
        "adapters/bridgeio_asyncio/__init__.py",
        "import bridgeio.cli",
        "only the contract",
    ),
}

# The contracts that list the adapters one by one: a linter that was told of one too few keeps silent.
ADAPTER_LISTS = [
    ("core-knows-no-adapter", "forbidden_modules"),
    ("adapters", "source_modules"),
    ("strangers", "modules"),
]


def test_the_layers_hold() -> None:
    """No arrow points upwards, no framework is in the core, no adapter knows more than the contract."""
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("file", "statement", "contract"), REFUSED.values(), ids=REFUSED)
def test_the_linter_would_see(file: str, statement: str, contract: str, tmp_path: Path) -> None:
    """A contract that is misspelt keeps silent for ever, so each is shown the import that it should refuse."""
    for part in ("bridgeio", "adapters"):
        shutil.copytree(ROOT / part, tmp_path / part)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    with (tmp_path / file).open("a", encoding="utf-8") as source:
        source.write(f"\n{statement}\n")
    done = lint_imports(tmp_path)
    assert done.returncode != 0
    assert [line for line in done.stdout.splitlines() if contract in line and "BROKEN" in line]


def test_every_import_package_is_linted() -> None:
    """No package stays out of the linter's sight."""
    assert set(declared("importlinter", "root_packages")) == {"bridgeio", *written_adapters()}


@pytest.mark.parametrize(("contract", "key"), ADAPTER_LISTS)
def test_every_adapter_is_under_every_contract(contract: str, key: str) -> None:
    """A new adapter is held to the same rules as the old ones."""
    assert set(declared(f"importlinter:contract:{contract}", key)) == written_adapters()


@pytest.mark.parametrize("file", python_files("bridgeio"), ids=relative)
def test_the_core_names_no_framework_in_an_import(file: Path) -> None:
    """No import statement of the core names a framework: not in a function, not for type checkers only."""
    assert {name.partition(".")[0] for name in imports(file)} & FRAMEWORKS == set()


def written_adapters() -> set[str]:
    return {name for name in written_packages() if name.startswith("bridgeio_")}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the two source roots below a folder."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "adapters")])}
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as lint; lint()",
        "--no-cache",
        "--no-logo",
    ]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
