"""``__all__`` is the list of what a module promises, so it is held against what the module has."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkout import modules, package_folder, written_packages

PUBLIC = {name: file for name, file in modules().items() if not name.rpartition(".")[2].startswith("_")}

# What users import from. Behind these doors `__all__` says what other rooms may take, and helpers need no underscore.
DOORS = [
    *written_packages(),
    "bridgeio.contract",
    "bridgeio.errors",
    "bridgeio.from_thread",
    "bridgeio.lowlevel",
    "bridgeio.to_thread",
]

DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
NOT_FOR_IMPORT = ("_", "pytest_")  # pytest finds its hooks by their names


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_module_says_what_it_exports(name: str) -> None:
    """Every public module, of the core and of each adapter, defines ``__all__``."""
    assert isinstance(getattr(importlib.import_module(name), "__all__", None), (list, tuple))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_export_exists(name: str) -> None:
    """A module has every name that its ``__all__`` promises, each once."""
    module = importlib.import_module(name)
    exported = list(getattr(module, "__all__", ()))
    assert [export for export in exported if not hasattr(module, export)] == []
    assert len(exported) == len(set(exported))


@pytest.mark.parametrize("name", DOORS)
def test_nothing_public_is_forgotten(name: str) -> None:
    """Where users look, each public function and class is in ``__all__``; what is not for them has an underscore."""
    exported = getattr(importlib.import_module(name), "__all__", ())
    assert sorted(set(definitions(PUBLIC[name])) - set(exported)) == []


@pytest.mark.parametrize("name", modules())
def test_rooms_take_only_what_is_exported(name: str) -> None:
    """A module imports from another of ours only what stands in its ``__all__``, or a module as a whole."""
    taken = [(module, taken) for module, taken in names_imported(modules()[name]) if module in PUBLIC]
    assert [f"{module}.{name}" for module, name in taken if not is_exported(module, name)] == []


@pytest.mark.parametrize("package", written_packages())
def test_no_export_hides_a_module(package: str) -> None:
    """Nothing in a package has the name of one of its modules but that module: importing it would replace the thing."""
    opening = package_folder(package) / "__init__.py"
    imported = {name for module, name in names_imported(opening) if module != package}
    taken = imported.union(definitions(opening), assignments(opening))
    assert sorted(taken & {file.stem for file in opening.parent.glob("*.py")}) == []


def is_exported(module: str, name: str) -> bool:
    return f"{module}.{name}" in modules() or name in getattr(importlib.import_module(module), "__all__", ())


def definitions(file: Path) -> list[str]:
    """The public functions and classes of a file."""
    body = ast.parse(file.read_bytes()).body
    return [node.name for node in body if isinstance(node, DEFINITION) and not node.name.startswith(NOT_FOR_IMPORT)]


def assignments(file: Path) -> list[str]:
    """The variables at the top level of a file."""
    targets = [node.targets for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.Assign)]
    return [target.id for several in targets for target in several if isinstance(target, ast.Name)]


def names_imported(file: Path) -> Iterator[tuple[str, str]]:
    """What a file takes out of other modules: (module, name)."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names if alias.name != "*")
