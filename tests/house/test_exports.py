"""``__all__`` is the list of what a module promises, so it is held against what the module has."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkout import modules, package_folder, written_packages

PUBLIC = {name: file for name, file in modules().items() if not name.rpartition(".")[2].startswith("_")}

# What typing needs at the top of a module is no export of it.
TYPE_PARAMETERS = {"TypeVar", "ParamSpec", "TypeVarTuple"}


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


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_public_is_forgotten(name: str) -> None:
    """A module's own public names are all in ``__all__``; what is not meant for other rooms has an underscore."""
    exported = getattr(importlib.import_module(name), "__all__", ())
    assert sorted(set(definitions(PUBLIC[name])) - set(exported)) == []


@pytest.mark.parametrize("package", written_packages())
def test_no_export_hides_a_module(package: str) -> None:
    """Nothing in a package has the name of one of its modules but that module: importing it would replace the thing."""
    folder = package_folder(package)
    taken = set(definitions(folder / "__init__.py")) | set(names_imported(folder / "__init__.py", package))
    assert sorted(taken & {file.stem for file in folder.glob("*.py")}) == []


def definitions(file: Path) -> Iterator[str]:
    """The public names that the top level of a file gives to something of its own."""
    for node in ast.parse(file.read_bytes()).body:
        for name in names_given(node):
            if not name.startswith("_"):
                yield name


def names_imported(file: Path, package: str) -> Iterator[str]:
    """The names that a file takes out of other modules; a module taken out of its own package is not one of them."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module != package:
            yield from (alias.asname or alias.name for alias in node.names)


def names_given(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(value=ast.Call(func=ast.Name(id=maker))) if maker in TYPE_PARAMETERS:
            return []
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []
