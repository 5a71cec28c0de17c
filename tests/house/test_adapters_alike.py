"""A diff of two adapters reads like a description of the difference between two frameworks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from checkout import adapter_folders

# What every adapter consists of.
COMMON = {"__init__.py", "backend.py", "host.py", "task.py"}

# (adapter, file): why this adapter does without
NOT_NEEDED = {
    ("bridgeio_tornado", "host.py"): "Tornado's loop is asyncio's, and so is its host",
    ("bridgeio_tornado", "task.py"): "Tornado's loop is asyncio's, and so are its tasks",
}

# file: the reason for it. A reason that holds for several frameworks brings a file of the same name to each.
PECULIAR = {
    "adopted.py": "a framework that drives an application's own tasks by itself, also in bridgeio's waits",
    "attendant.py": "no loop: deadlines and bytes left over need a thread while every task's own is elsewhere",
    "baton.py": "no loop: something else has to make code between two waits atomic",
    "children.py": "a framework that takes the exit codes of all children, and has to be asked for ours",
    "generators.py": "a framework that closes asynchronous generators when our timers and sockets have ended",
    "interrupts.py": "no loop that could deliver Ctrl-C between two steps",
    "gate.py": "no loop that resumes tasks: each sleeps in its own thread until another thread wakes it",
    "lookout.py": "no loop that waits for descriptors and deadlines",
    "parking.py": "no loop: a task that waits is a thread that waits",
    "resolver.py": "a framework whose resolver answers by callbacks, and in addresses of its own",
    "wait.py": "a framework whose tasks wait for objects that follow its own protocol",
    "workers.py": "no loop: each task is a thread, and somebody starts and ends it",
    "deferreds.py": "a framework whose own code awaits ours as an object of its own, not as a coroutine",
    "factories.py": "a framework whose servers make an object of the application's for each connection",
    "streams.py": "a framework with streams of its own that an application may hold, for bridgeio.wrap",
    "scopes.py": "a framework with scopes and groups of its own, which bridgeio's are mapped to",
}


@pytest.mark.parametrize("folder", adapter_folders(), ids=lambda folder: folder.name)
def test_an_adapter_has_the_files_that_all_have(folder: Path) -> None:
    """The same word of the contract is found in the same file of every adapter, unless it is listed here why not."""
    missing = COMMON - files_of(folder)
    assert sorted(file for file in missing if (folder.name, file) not in NOT_NEEDED) == []


@pytest.mark.parametrize("folder", adapter_folders(), ids=lambda folder: folder.name)
def test_an_adapter_has_no_other_file_without_a_reason(folder: Path) -> None:
    """What only some frameworks need is listed here with its reason."""
    assert sorted(files_of(folder) - COMMON - set(PECULIAR)) == []


def test_the_list_of_files_not_needed_names_no_other() -> None:
    """A file that was written after all leaves the list."""
    present = {(folder.name, file) for folder in adapter_folders() for file in files_of(folder)}
    assert sorted(present & set(NOT_NEEDED)) == []


def test_the_list_of_peculiar_files_names_no_other() -> None:
    """A file that no adapter has, or every one, leaves the list."""
    adapters = adapter_folders()
    spread = {file: sum(file in files_of(folder) for folder in adapters) for file in PECULIAR}
    assert [file for file, count in spread.items() if not 0 < count < len(adapters)] == []


@pytest.mark.parametrize("folder", adapter_folders(), ids=lambda folder: folder.name)
def test_an_adapter_opens_with_its_table(folder: Path) -> None:
    """Its docstring is the table of the contract's words and the framework's, and says what is not promised."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_bytes())) or ""
    assert "not promised" in docstring.lower()


def files_of(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*.py")}
