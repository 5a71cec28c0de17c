"""The conformance suite has every chapter, and every test of every chapter."""

from __future__ import annotations

import ast
from collections import Counter

from bridgeio.testing import suite
from checkout import ROOT

CHAPTERS = [file for file in sorted((ROOT / "bridgeio/testing/suite").glob("*.py")) if file.stem != "__init__"]


def test_every_chapter_is_run_here() -> None:
    """Each chapter has a file in tests/conformance that takes its tests."""
    folder = ROOT / "tests/conformance"
    assert [file.stem for file in CHAPTERS if not (folder / f"test_{file.stem}.py").exists()] == []


def test_no_two_tests_have_one_name() -> None:
    """Who takes the whole suite into one file gets all of it: of two tests with one name only one would be left."""
    names = Counter(name for file in CHAPTERS for name in names_of_tests(file.read_bytes()))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_suite_has_all_of_them() -> None:
    """A chapter that is not listed in the suite's opening would be missed by every stranger."""
    names = {name for file in CHAPTERS for name in names_of_tests(file.read_bytes())}
    assert sorted(names - set(suite.__all__)) == []


def names_of_tests(source: bytes) -> list[str]:
    body = ast.parse(source).body
    functions = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [name for name in functions if name.startswith("test_")]
