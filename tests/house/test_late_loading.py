"""What a program does not need at once is loaded when it is used first, and nobody can tell: PEP 562."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path

import pytest

import bridgeio
from checkout import package_folder
from fresh import run_isolated

ROOMS = {room: set(names) for room, names in bridgeio._LATE.items()}
MODULES = set(bridgeio._LATE_MODULES)

# What a small server or client is made of: none of it is looked for inside a loop that is running.
AT_ONCE = {
    "CancelScope",
    "Condition",
    "Event",
    "Lock",
    "Queue",
    "Reader",
    "Semaphore",
    "Server",
    "TaskGroup",
    "Writer",
    "create_memory_object_stream",
    "create_task_group",
    "current_server",
    "dump_tasks",
    "fail_after",
    "get_current_task",
    "move_on_after",
    "open_connection",
    "open_unix_connection",
    "run",
    "run_server",
    "serve",
    "serve_task",
    "serve_unix",
    "sleep",
}

THERE = "import bridgeio, json; print(json.dumps([name for name in bridgeio.__all__ if name in vars(bridgeio)]))"
LOADED = "import bridgeio, json, sys; print(json.dumps(list(sys.modules)))"
LISTED = "import bridgeio, json; print(json.dumps(dir(bridgeio)))"
STARRED = "from bridgeio import *\nimport json; print(json.dumps(dir()))"

ASKED_BY_MANY = """
import json, threading
import bridgeio
found = []
together = threading.Barrier(16)
def ask():
    together.wait()
    found.append((bridgeio.run_process, bridgeio.Path, bridgeio.to_thread, bridgeio.every))
threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([len(found), len(set(found))]))
"""


def test_type_checkers_are_told_the_same() -> None:
    """The imports that only they see are of the very names that the interpreter loads late, out of the same rooms."""
    seen = {node.module: {alias.name for alias in node.names} for node in imports_for_type_checkers()}
    assert seen.pop("bridgeio") == MODULES
    assert seen == {f"bridgeio.{room}": names for room, names in ROOMS.items()}


def test_late_names_are_exports() -> None:
    """Nothing is loaded late that nobody should ask for, and no name has two rooms."""
    late = [*MODULES, *(name for names in ROOMS.values() for name in names)]
    assert len(late) == len(set(late))
    assert set(late) <= set(bridgeio.__all__)


def test_what_is_late_is_not_loaded_at_once(tmp_path: Path) -> None:
    """A room that the import loads all the same would be a name to look up for nothing."""
    loaded = set(asked(LOADED, tmp_path))
    assert loaded.isdisjoint(f"bridgeio.{room}" for room in [*ROOMS, *MODULES])


def test_the_usual_is_there_at_once(tmp_path: Path) -> None:
    """What every program uses comes with the import."""
    assert set(asked(THERE, tmp_path)) >= AT_ONCE


def test_dir_tells_all(tmp_path: Path) -> None:
    """A console completes also what is not loaded yet."""
    assert set(bridgeio.__all__) <= set(asked(LISTED, tmp_path))


def test_a_star_gets_all(tmp_path: Path) -> None:
    """``from bridgeio import *`` brings every export."""
    assert set(bridgeio.__all__) <= set(asked(STARRED, tmp_path))


@pytest.mark.parametrize(("room", "name"), [(room, name) for room, names in ROOMS.items() for name in sorted(names)])
def test_it_is_what_its_room_has(room: str, name: str) -> None:
    """Each name is the thing of that name, and is looked for once."""
    assert getattr(bridgeio, name) is getattr(importlib.import_module(f"bridgeio.{room}"), name)
    assert vars(bridgeio)[name] is getattr(bridgeio, name)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_are_exports_too(name: str) -> None:
    """``bridgeio.to_thread`` needs no import of its own."""
    assert getattr(bridgeio, name) is importlib.import_module(f"bridgeio.{name}")


def test_a_wrong_name_is_refused_as_everywhere() -> None:
    """In the words of the interpreter, with what it needs to guess the right name."""
    with pytest.raises(AttributeError, match=r"^module 'bridgeio' has no attribute 'open_conection'$") as raised:
        getattr(bridgeio, "open_conection")  # noqa: B009 # a type checker would say the same
    assert (raised.value.name, raised.value.obj) == ("open_conection", bridgeio)
    assert not hasattr(bridgeio, "_LATER")


def test_threads_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    """The import system lets one of them load it, and the others wait."""
    assert asked(ASKED_BY_MANY, tmp_path) == [16, 1]


def imports_for_type_checkers() -> list[ast.ImportFrom]:
    opening = ast.parse((package_folder("bridgeio") / "__init__.py").read_bytes())
    blocks = [node for node in opening.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]


def asked(code: str, cwd: Path) -> list[object]:
    """What a fresh interpreter answers."""
    answer: list[object] = json.loads(run_isolated(code, cwd))
    return answer
