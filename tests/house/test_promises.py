"""What is promised about cancellation, what the suite proves, and what the documentation says are one."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from bridgeio.testing.promises import BUGS, PROMISES, Evidence, evidence
from checkout import ROOT

EVIDENCE = evidence()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: f"promise {promise.number}")
def test_every_promise_has_its_tests(promise: object) -> None:
    """A promise that no test stands for would be a wish."""
    assert [test.name for test in EVIDENCE if getattr(promise, "number", 0) in test.promises] != []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: str(bug.name))
def test_every_known_bug_is_looked_for(bug: object) -> None:
    """A mistake that others have made, and that no test would find, could be ours tomorrow."""
    assert [test.name for test in EVIDENCE if getattr(bug, "name", "") in test.bugs] != []


def test_no_test_stands_for_what_is_not_promised() -> None:
    """Each mark names a promise or a bug that there is."""
    numbers = {promise.number for promise in PROMISES}
    names = {bug.name for bug in BUGS}
    assert [test.name for test in EVIDENCE if not numbers.issuperset(test.promises)] == []
    assert [test.name for test in EVIDENCE if not names.issuperset(test.bugs)] == []


def test_promises_are_numbered_and_bugs_are_named_once() -> None:
    """The numbers go from one up without a gap; no two rows share a name."""
    assert [promise.number for promise in PROMISES] == list(range(1, len(PROMISES) + 1))
    assert len({bug.name for bug in BUGS}) == len(BUGS)


@pytest.mark.parametrize("test", EVIDENCE, ids=lambda test: f"{test.chapter}-{test.name}")
def test_what_stands_for_a_promise_says_so_in_a_sentence(test: Evidence) -> None:
    """The first paragraph of its docstring is what the documentation shows: a sentence; and it is for all backends."""
    module = import_module(f"bridgeio.testing.suite.{test.chapter}")
    assert test.sentence.endswith(".")
    assert inspect.getdoc(getattr(module, test.name))
    marks = module.pytestmark if isinstance(module.pytestmark, list) else [module.pytestmark]
    assert ("bridgeio", ()) in [(mark.name, mark.args) for mark in marks]


def test_the_documentation_shows_both_tables() -> None:
    """The chapter for authors has them made from the suite, and not by hand."""
    page = (ROOT / "docs/concepts/cancellation.md").read_text(encoding="utf-8")
    assert "```{evidence} promises\n```" in page
    assert "```{evidence} bugs\n```" in page
