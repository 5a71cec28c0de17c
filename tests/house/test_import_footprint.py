"""``import bridgeio`` costs little and chooses nothing: no framework, no thread, no descriptor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from checkout import adapter_folders
from fresh import run_isolated

FRAMEWORKS = {"asyncio", "uvloop", "trio", "tornado", "twisted", "gevent", "curio", "anyio"}

# The modules of the standard library that the core may load. What these load themselves comes with them.
# importlib.metadata is not among them: it costs as much as all the rest, and only a list of backends needs it.
ALLOWED = {
    "abc",
    "bisect",
    "collections.abc",
    "contextlib",
    "contextvars",
    "enum",
    "errno",
    "functools",
    "gc",
    "heapq",
    "importlib",
    "itertools",
    "math",
    "os",
    "select",
    "signal",
    "socket",
    "stat",
    "struct",
    "threading",
    "time",
    "types",
    "typing",
    "weakref",
}

LOADED = """
before = set(sys.modules)
{code}
loaded = sorted(set(sys.modules) - before)
import json
print(json.dumps(loaded))
"""

LEFT_OPEN = """
import os, threading
before = set(os.listdir("/proc/self/fd"))
import bridgeio
print(threading.active_count(), len(set(os.listdir("/proc/self/fd")) - before))
"""


def test_importing_the_core_loads_only_what_is_allowed(tmp_path: Path) -> None:
    """A fresh interpreter that imports bridgeio has loaded nothing beyond the list above, asyncio least of all."""
    loaded = modules_loaded("import bridgeio", tmp_path) - allowed(tmp_path)
    extra = sorted(name for name in loaded if name.partition(".")[0] != "bridgeio")
    assert not extra, f"import bridgeio also loads {', '.join(extra)}"


def test_the_allow_list_lets_no_framework_in(tmp_path: Path) -> None:
    """Nobody can make the test above pass by allowing a framework, nor anything that brings one along."""
    assert top_level(allowed(tmp_path)).isdisjoint(FRAMEWORKS)


def test_looking_at_every_export_loads_no_framework(tmp_path: Path) -> None:
    """Whatever is loaded late in the core is no framework either."""
    code = "import bridgeio\nfor name in bridgeio.__all__: getattr(bridgeio, name)"
    assert top_level(modules_loaded(code, tmp_path)) & FRAMEWORKS == set()


@pytest.mark.parametrize("adapter", [folder.name for folder in adapter_folders()])
def test_importing_an_adapter_loads_no_framework(adapter: str, tmp_path: Path) -> None:
    """An adapter can be looked at where its framework is missing: it imports the framework when it is asked to run."""
    assert top_level(modules_loaded(f"import {adapter}", tmp_path)) & FRAMEWORKS == set()


@pytest.mark.parametrize("adapter", [folder.name for folder in adapter_folders()])
def test_a_run_reads_no_metadata(adapter: str, tmp_path: Path) -> None:
    """Neither the core nor an adapter of ours asks which distributions are installed before somebody wants to know."""
    code = f"import {adapter}\ntry: {adapter}.ADAPTER.load()\nexcept ImportError: pass\nimport bridgeio.oversight"
    kept = modules_loaded(code, tmp_path) & {"importlib.metadata", "bridgeio.dumps"}
    assert kept == {"bridgeio.dumps"}


def test_importing_the_core_does_no_work(tmp_path: Path) -> None:
    """The import starts no thread and opens no descriptor."""
    assert run_isolated(LEFT_OPEN, tmp_path).split() == ["1", "0"]


def allowed(cwd: Path) -> set[str]:
    """The allowed modules and everything that they load, on this Python."""
    return modules_loaded(f"import __future__, {', '.join(sorted(ALLOWED))}", cwd)


def modules_loaded(code: str, cwd: Path) -> set[str]:
    """What a piece of code makes a fresh interpreter load."""
    return set(json.loads(run_isolated(LOADED.format(code=code), cwd)))


def top_level(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}
