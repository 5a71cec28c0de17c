"""What leaves the house: the wheel, the sdist, and what they become when somebody installs them."""

from __future__ import annotations

import json
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from checkout import ROOT, package_folder, python_files, relative, written_packages
from fresh import Distributions, Environment

pytestmark = pytest.mark.timeout(140)  # a build makes environments of its own and fetches setuptools

FOR_DISTRIBUTORS = {"LICENSE", "README.md", "CHANGELOG.md", "MANIFEST.in", "noxfile.py", "pyproject.toml", "setup.cfg"}
EXTRAS = {"trio", "tornado", "twisted", "gevent", "uvloop", "all", "test", "bench", "docs"}

# The conformance kit is for those who have pytest; nothing else of ours needs anything.
SELF_SUFFICIENT = [name for name in written_packages() if not name.startswith("bridgeio.testing")]

ORIGINS = """
import importlib, json, sys
print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[1:]}))
"""


def test_the_wheel_holds_every_package_and_nothing_else(distributions: Distributions) -> None:
    """A wheel has the modules of both source roots, py.typed and the demo text; no test, no example, no stray file."""
    assert {name for name in names_in_wheel(distributions.wheel) if ".dist-info/" not in name} == files_to_ship()


def test_the_sdist_serves_a_distributor(distributions: Distributions) -> None:
    """From the sdist alone the tests can be run and the documentation built."""
    names = names_in_sdist(distributions.sdist)
    ours = python_files("bridgeio", "adapters", "tests", "docs", "examples", "benchmarks")
    assert FOR_DISTRIBUTORS | {relative(file) for file in ours} <= names


def test_the_sdist_holds_no_leftovers(distributions: Distributions) -> None:
    """An sdist has no compiled file, no cache and no output of a build."""
    names = names_in_sdist(distributions.sdist)
    leftovers = ("__pycache__", ".pyc", ".nox", ".git", "build/", "_build", "_cache")
    assert [name for name in names if any(leftover in name for leftover in leftovers)] == []


def test_the_core_has_no_dependency(distributions: Distributions) -> None:
    """Whatever the metadata requires, it requires for an extra."""
    requirements = metadata(distributions.wheel).get_all("Requires-Dist", [])
    assert [line for line in requirements if "extra ==" not in line] == []


def test_the_metadata_says_what_was_agreed(distributions: Distributions) -> None:
    """Name, licence, Pythons and extras reach the index as documented."""
    fields = metadata(distributions.wheel)
    assert (fields["Name"], fields["License-Expression"], fields["Author"]) == (
        "bridgeio",
        "MIT",
        "The bridgeio authors",
    )
    assert fields["Requires-Python"] == ">=3.11"
    assert set(fields.get_all("Provides-Extra", [])) == EXTRAS


def test_the_wheel_works_with_nothing_else_installed(distributions: Distributions, tmp_path: Path) -> None:
    """The wheel installs without an index, its packages can be imported, and the command answers."""
    environment = Environment(tmp_path / "venv")
    before = installed(environment)
    environment.pip("install", "--no-index", distributions.wheel)
    assert installed(environment) - before == {"bridgeio"}
    assert set(origins(environment)) == set(SELF_SUFFICIENT)
    assert "usage: bridgeio" in environment.run("bridgeio", "--help").lower()


def test_an_editable_install_works(clean_copy: Path, tmp_path: Path) -> None:
    """`pip install -e .` serves both source roots from the checkout, from any folder, and the command answers."""
    environment = Environment(tmp_path / "venv")
    environment.pip("install", "--editable", clean_copy)
    for package, file in origins(environment).items():
        assert Path(file).parent == clean_copy / package_folder(package).relative_to(ROOT)
    assert "usage: bridgeio" in environment.run("bridgeio", "--help").lower()


def files_to_ship() -> set[str]:
    """Every file of the packages in the two source roots, by the name it has in a wheel."""
    core = (ROOT / "bridgeio").rglob("*")
    adapters = (ROOT / "adapters").glob("bridgeio_*/**/*")
    files = {file.relative_to(ROOT).as_posix() for file in (*core, *adapters) if file.is_file()}
    return {name.removeprefix("adapters/") for name in files if "__pycache__" not in name}


def names_in_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def names_in_sdist(sdist: Path) -> set[str]:
    """The names in an sdist, without the folder that they all lie in."""
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def installed(environment: Environment) -> set[str]:
    return {entry["name"] for entry in json.loads(environment.pip("list", "--format=json"))}


def origins(environment: Environment) -> dict[str, str]:
    """From which file each package is imported in an environment."""
    found: dict[str, str] = json.loads(environment.run("python", "-I", "-c", ORIGINS, *SELF_SUFFICIENT))
    return found
