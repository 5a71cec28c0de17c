"""README and the documentation name what exists, and all that is public."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridgeio
import bridgeio.errors
import bridgeio.testing
from bridgeio.contract import CONTRACT, Adapter, Backend, Host
from bridgeio.crossing import Crossing
from checkout import ROOT, adapter_folders, relative

PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.rst")),
]

# Dotted names that begin like ours and are none: loggers, entry-point groups, lists in setup.cfg.
NOT_IMPORTED = {"bridgeio.adapters"}

# What the base classes of the contract have for the core, and what every host has by itself.
CORES_OWN = {"ask", "call_at_end", "spare_at_end", "end_crossing", "is_over"}
RECORDS = {"backend", "lingering", "unflushed", "fed", "mains", "variables", "timers"}


def test_readme_shows_the_listing_that_the_tutorial_shows() -> None:
    """README's first program and the documentation's are one."""
    shown = re.search(r"```python\n(.*?)```", text_of(ROOT / "README.md"), re.DOTALL)
    assert shown is not None
    assert shown[1] == text_of(ROOT / "docs" / "listings" / "first.py")


def test_every_public_name_is_in_the_reference() -> None:
    """What can be imported from bridgeio and its testing room is documented, and so is what adapters offer."""
    reference = "".join(text_of(page) for page in PAGES if page.suffix == ".rst" or page.name == "testing.md")
    names = {*bridgeio.__all__, *bridgeio.errors.__all__, *bridgeio.testing.__all__}
    names -= {"__version__", "errors"}
    names -= {"again", "describe", "show_address"}  # for other rooms and adapters, not for users
    assert sorted(name for name in names if not is_in(reference, name)) == []


def test_everything_that_an_adapter_may_bring_is_on_the_page_of_the_contract() -> None:
    """Its table has every method that the contract declares, and its list of versions ends with the present one."""
    page = text_of(ROOT / "docs" / "contract.md")
    parts = (Adapter, Backend, Host, Crossing)
    names = {name for part in parts for name in (*vars(part), *vars(part).get("__annotations__", ()))}
    names -= {*RECORDS, *CORES_OWN, *(name for name in names if name.startswith("_"))}
    assert sorted(name for name in names if f"`{name}`" not in page) == []
    assert re.search(r"^\| (\d+)\.(\d+) \|", page, re.MULTILINE).groups() == tuple(map(str, CONTRACT))  # type: ignore[union-attr]


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_name_exists(page: Path) -> None:
    """A dotted name of ours in a page can be imported."""
    found = set(re.findall(r"\bbridgeio(?:_\w+)?(?:\.[A-Za-z_]\w*)+", text_of(page)))
    names = {name for name in found if not is_file(name)} - NOT_IMPORTED
    assert sorted(name for name in names if not exists(name)) == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_block_is_python(page: Path) -> None:
    """A Python block in a page can be compiled."""
    for block in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL):
        compile(block, relative(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent == ROOT], ids=relative)
def test_every_link_of_a_page_outside_the_documentation_leads_somewhere(page: Path) -> None:
    """Sphinx checks the links inside docs/; on the pages beside it nobody else does."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text_of(page))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_selection_of_tests_selects_some(page: Path) -> None:
    """Where a page says ``pytest <file> -k <words>`` there is such a file, and a test with these words in its name."""
    for file, words in re.findall(r"pytest (tests/\S+\.py) -k (\w+)", text_of(page)):
        chapter = ROOT / "bridgeio" / "testing" / "suite" / Path(file).name.removeprefix("test_")
        source = text_of(ROOT / file) + (text_of(chapter) if chapter.exists() else "")
        assert re.search(rf"def test_\w*{words}", source), f"{file} -k {words}"


def test_every_adapter_has_its_page() -> None:
    """The docstring of each adapter, which says what it does not promise, stands on a page about its framework."""
    pages = "".join(text_of(page) for page in PAGES if page.parent.name == "frameworks")
    assert [folder.name for folder in adapter_folders() if f"automodule:: {folder.name}\n" not in pages] == []


def test_every_module_of_the_core_is_on_the_map() -> None:
    """The page on the architecture says of each where it belongs, and names none that is gone."""
    told = re.search(r"## Where each idea lives\n(.*?)\n## ", text_of(ROOT / "docs" / "architecture.md"), re.DOTALL)
    assert told is not None
    modules = {path.name for path in (ROOT / "bridgeio").glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"`(\w+\.py)`", told[1])) == modules


def test_the_changelog_begins_with_this_version() -> None:
    """What is about to be released stands on top."""
    versions = re.findall(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == bridgeio.__version__


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def is_in(reference: str, name: str) -> bool:
    return re.search(rf"\.\. auto\w+:: (\w+\.)*{name}\b", reference) is not None


def is_file(name: str) -> bool:
    return name.endswith((".py", ".md", ".cfg"))


def exists(name: str) -> bool:
    return any(has(module, attributes) for module, attributes in readings(name))


def readings(name: str) -> Iterator[tuple[str, list[str]]]:
    """A dotted name as a module and what to look up in it, the longest module first."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        yield ".".join(parts[:size]), parts[size:]


def has(module: str, attributes: list[str]) -> bool:
    try:
        found: object = importlib.import_module(module)
    except ImportError:
        return False
    for attribute in attributes:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True
