"""setup.cfg lists packages and adapters by hand, so the lists are held against the disk and the code."""

from __future__ import annotations

import importlib

import pytest

import bridgeio
from bridgeio.registry import FIRST_PARTY
from checkout import ROOT, declared, declared_packages, package_folder, python_files, written_packages

# An adapter's folder keeps its place with a py.typed until somebody writes it. Take its line away then.
NOT_YET_WRITTEN: set[str] = set()


def test_every_package_on_disk_is_listed_and_no_other() -> None:
    """A wheel lacks no package, in neither source root, and a list left over from a rename cannot stay."""
    core = {f"bridgeio.{name}".strip(".") for name in folders_with_python("bridgeio")}
    assert core | folders_with_python("adapters") | NOT_YET_WRITTEN == set(declared_packages())


def test_no_package_is_listed_twice() -> None:
    """The list can be read as a table of contents."""
    assert len(declared_packages()) == len(set(declared_packages()))


def test_every_listed_package_can_be_imported_but_those_not_yet_written() -> None:
    """No listed package is half-present: each is a real package, or says here that it is still to come."""
    assert set(declared_packages()) - set(written_packages()) == NOT_YET_WRITTEN


def test_the_version_is_the_one_in_setup_cfg() -> None:
    """The library tells its users the version that the index tells them."""
    assert [bridgeio.__version__] == declared("metadata", "version")


@pytest.mark.parametrize("package", written_packages())
def test_path_equals_name(package: str) -> None:
    """package_dir gives each package the folder that carries its name, so mypy, pyright and people find it."""
    assert package_folder(package).parts[-package.count(".") - 1 :] == tuple(package.split("."))


@pytest.mark.parametrize("package", [name for name in declared_packages() if "." not in name])
def test_every_import_package_is_typed(package: str) -> None:
    """Each import package carries py.typed, on disk and in package_data."""
    assert (package_folder(package) / "py.typed").exists()
    assert "py.typed" in data_files(package)


def test_the_demo_text_is_on_disk_and_ships() -> None:
    """`bridgeio demo` finds its default text wherever it is installed."""
    assert (ROOT / "bridgeio" / "demo_text.txt").stat().st_size > 0
    assert "demo_text.txt" in data_files("bridgeio")


def test_every_adapter_is_an_entry_point() -> None:
    """First-party adapters come in by the same door as a stranger's."""
    announced = {line.partition(" = ")[2].partition(":")[0] for line in entry_points("bridgeio.adapters")}
    assert announced == {name for name in declared_packages() if name.startswith("bridgeio_")}


@pytest.mark.parametrize("group", ["bridgeio.adapters", "console_scripts", "pytest11"])
def test_every_entry_point_leads_somewhere(group: str) -> None:
    """Whatever setup.cfg announces is there: the module and the object in it."""
    for line in entry_points(group):
        module, _, attribute = line.partition(" = ")[2].partition(":")
        if module not in NOT_YET_WRITTEN:
            assert not attribute or hasattr(importlib.import_module(module), attribute), line


def test_the_built_in_table_is_that_of_the_entry_points() -> None:
    """The registry's own table, for frozen programs that lose entry points, says the same as setup.cfg."""
    assert dict(line.split(" = ") for line in entry_points("bridgeio.adapters")) == FIRST_PARTY


def test_only_adapters_that_are_written_are_known() -> None:
    """A folder that only keeps a place is no backend yet."""
    written = {name for name, target in FIRST_PARTY.items() if target.partition(":")[0] not in NOT_YET_WRITTEN}
    assert set(FIRST_PARTY) & set(bridgeio.known_backends()) == written


def folders_with_python(root: str) -> set[str]:
    """The packages that the files below a source root amount to."""
    return {".".join(file.parent.relative_to(ROOT / root).parts) for file in python_files(root)}


def data_files(package: str) -> list[str]:
    return [name.strip() for line in declared("options.package_data", package) for name in line.split(",")]


def entry_points(group: str) -> list[str]:
    return declared("options.entry_points", group)
