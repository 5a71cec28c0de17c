"""A diff of two adapters reads like a description of the difference between two frameworks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from checkout import adapter_folders

# (adapter, file): why this adapter does without a file that another has
NOT_NEEDED: dict[tuple[str, str], str] = {
    ("bridgeio_tornado", "host.py"): "Tornado's loop is asyncio's, and so is its host",
    ("bridgeio_tornado", "task.py"): "Tornado's loop is asyncio's, and so are its tasks",
    ("bridgeio_asyncio", "scopes.py"): "only Trio has scopes of its own that bridgeio's are mapped to",
    ("bridgeio_tornado", "scopes.py"): "only Trio has scopes of its own that bridgeio's are mapped to",
}


def test_adapters_have_the_same_files() -> None:
    """A file that one adapter has, every adapter has, unless it is listed here why not."""
    files = files_by_adapter()
    everywhere = set().union(*files.values())
    missing = {(name, file) for name, own in files.items() for file in everywhere - own}
    assert missing - set(NOT_NEEDED) == set()


def test_the_list_of_exceptions_names_no_other() -> None:
    """A file that was written after all leaves the list."""
    files = files_by_adapter()
    assert [name for name, file in NOT_NEEDED if file in files.get(name, set())] == []


@pytest.mark.parametrize("folder", adapter_folders(), ids=lambda folder: folder.name)
def test_an_adapter_opens_with_its_table(folder: Path) -> None:
    """Its docstring is the table of the contract's words and the framework's, and says what is not promised."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_bytes())) or ""
    assert "not promised" in docstring.lower()


def files_by_adapter() -> dict[str, set[str]]:
    return {folder.name: {file.name for file in folder.glob("*.py")} for folder in adapter_folders()}
