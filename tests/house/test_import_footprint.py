"""``import bridgeio`` costs little and chooses nothing: no framework, no thread, no descriptor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checkout import adapter_folders
from fresh import run_isolated

FRAMEWORKS = {"asyncio", "uvloop", "trio", "tornado", "twisted", "gevent", "curio", "anyio"}

# The parts of the standard library that the core may load, with what they load themselves.
ALLOWED = {"__future__", "collections"}

LOADED = """
import json
before = set(sys.modules)
{code}
print(json.dumps(sorted(set(sys.modules) - before)))
"""

LEFT_OPEN = """
import os, threading
before = set(os.listdir("/proc/self/fd"))
import bridgeio
print(threading.active_count(), len(set(os.listdir("/proc/self/fd")) - before))
"""


def test_importing_the_core_loads_only_what_is_allowed(tmp_path: Path) -> None:
    """A fresh interpreter that imports bridgeio has loaded nothing beyond the list above, asyncio least of all."""
    extra = packages_loaded("import bridgeio", tmp_path) - ALLOWED - {"bridgeio"}
    assert extra == set(), f"import bridgeio also loads {sorted(extra)}"


def test_the_allow_list_names_no_framework() -> None:
    """Nobody can make the test above pass by allowing a framework."""
    assert ALLOWED.isdisjoint(FRAMEWORKS)


def test_looking_at_every_export_loads_no_framework(tmp_path: Path) -> None:
    """Whatever is loaded late in the core is no framework either."""
    code = "import bridgeio\nfor name in bridgeio.__all__: getattr(bridgeio, name)"
    assert packages_loaded(code, tmp_path) & FRAMEWORKS == set()


@pytest.mark.parametrize("adapter", [folder.name for folder in adapter_folders()])
def test_importing_an_adapter_loads_no_framework(adapter: str, tmp_path: Path) -> None:
    """An adapter can be looked at where its framework is missing: it imports the framework when it is asked to run."""
    assert packages_loaded(f"import {adapter}", tmp_path) & FRAMEWORKS == set()


def test_importing_the_core_does_no_work(tmp_path: Path) -> None:
    """The import starts no thread and opens no descriptor."""
    assert run_isolated(LEFT_OPEN, tmp_path).split() == ["1", "0"]


def packages_loaded(code: str, cwd: Path) -> set[str]:
    """The top-level packages that a piece of code makes a fresh interpreter load."""
    loaded = json.loads(run_isolated(LOADED.format(code=code), cwd))
    return {name.partition(".")[0] for name in loaded}
