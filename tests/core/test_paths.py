"""`bridgeio.Path` without a disk: every name of pathlib's, and what it says of a path."""

from __future__ import annotations

import copy
import inspect
import io
import os
import pathlib
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

import bridgeio
from bridgeio import Path

# Names of pathlib's that are left out, and why.
LEFT_OUT = {"link_to": "deprecated, and gone since Python 3.12"}

PATHS = ["", ".", "/", "a", "a/b.tar.gz", "/a/../b", "~/x", "a//b/", ".hidden", "/a/b c"]

QUESTIONS = ["anchor", "drive", "name", "parts", "root", "stem", "suffix", "suffixes"]
METHODS = ["as_posix", "is_absolute", "__str__", "__fspath__", "__bytes__", "__hash__"]


class OwnPath(Path):
    """A subclass gives paths of its own kind."""


def test_every_name_of_pathlib_is_there() -> None:
    """A public attribute of this Python's `pathlib.Path` is one of ours, unless there is a reason."""
    theirs = {name for name in dir(pathlib.Path) if not name.startswith("_")}
    assert sorted(theirs - set(dir(Path)) - set(LEFT_OUT)) == []


def test_every_name_of_anyio_is_there() -> None:
    """Who ports from AnyIO finds each method, awaited where it is awaited there; what iterates is not."""
    anyio = pytest.importorskip("anyio")
    for ours, theirs in (
        (Path, anyio.Path),
        (bridgeio.AsyncFile, anyio.AsyncFile),
        (bridgeio.SpooledTemporaryFile, getattr(anyio, "SpooledTemporaryFile", anyio.AsyncFile)),
    ):
        names = {name for name in dir(theirs) if not name.startswith("_")}
        assert sorted(names - set(dir(ours)) - set(dir(io.IOBase))) == []  # those are there by ``__getattr__``
        for name in sorted(names):
            if inspect.iscoroutinefunction(getattr(theirs, name)):
                assert inspect.iscoroutinefunction(getattr(ours, name)), name


@pytest.mark.parametrize("text", PATHS)
def test_what_needs_no_disk(text: str) -> None:
    """The answers are pathlib's."""
    ours: Any = Path(text)
    theirs = pathlib.Path(text)
    assert {name: getattr(ours, name) for name in QUESTIONS} == {name: getattr(theirs, name) for name in QUESTIONS}
    assert [getattr(ours, name)() for name in METHODS] == [getattr(theirs, name)() for name in METHODS]
    assert (ours.parent, list(ours.parents)) == (theirs.parent, list(theirs.parents))
    assert ours.joinpath("x", Path("y")) == theirs.joinpath("x", "y")
    assert (ours / "x" / pathlib.Path("y") / Path("z"), "x" / ours) == (theirs / "x" / "y" / "z", "x" / theirs)
    assert repr(ours) == f"Path({theirs.as_posix()!r})"
    assert os.path.join(ours, "x") == os.path.join(theirs, "x")


@pytest.mark.parametrize(
    "question",
    [
        lambda path: path.as_uri(),
        lambda path: path.is_relative_to("/a"),
        lambda path: path.match("*.gz"),
        lambda path: path.relative_to("a"),
        lambda path: path.with_name("new"),
        lambda path: path.with_stem("new"),
        lambda path: path.with_suffix(".new"),
        lambda path: path.with_suffix("new"),
        lambda path: path / 1,
        lambda path: 1 / path,
        lambda path: path < "text",
    ],
)
@pytest.mark.parametrize("text", PATHS)
def test_questions_that_not_every_path_can_answer(text: str, question: Callable[[Any], Any]) -> None:
    """The same answer, or the same class of error."""
    assert _outcome(question, Path(text)) == _outcome(question, pathlib.Path(text))


def _outcome(question: Callable[[Any], Any], path: object) -> Any:
    try:
        return question(path)
    except Exception as error:
        return type(error)


def test_comparisons() -> None:
    """Paths compare with their own kind and with pathlib's, in both directions, and with nothing else."""
    a, b = Path("a"), Path("b")
    assert (a < b, a <= a, b > a, b >= b, a == Path("a"), a != b) == (True,) * 6
    theirs = pathlib.Path("a")
    assert (a == theirs, theirs == a, hash(a) == hash(theirs), theirs < b, a <= theirs) == (True,) * 5
    assert a != "a"
    mixed: list[Any] = [b, theirs, Path("A")]
    assert sorted(mixed) == [Path("A"), theirs, b]
    assert {a: 1}[Path("a")] == 1


@pytest.mark.parametrize("remake", [lambda path: pickle.loads(pickle.dumps(path)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", [Path, OwnPath])
def test_copies(remake: Callable[[Path], Path], kind: type[Path]) -> None:
    """A path can be pickled and copied, and stays of its kind."""
    again = remake(kind("a/b"))
    assert (type(again), again) == (kind, kind("a/b"))


def test_paths_of_ones_own_kind() -> None:
    """What a subclass makes is of that class."""
    path = OwnPath("a/b.c")
    made = [path.parent, path / "x", "x" / path, path.with_name("x"), path.joinpath("x"), *path.parents]
    assert {type(each) for each in made} == {OwnPath}


def test_a_limiter_goes_with_the_paths_that_a_path_gives() -> None:
    """What a path is told to borrow from, those that come of it borrow from too; anything else is a TypeError."""
    limiter = bridgeio.CapacityLimiter(1)
    path = Path("a/b.c", limiter=limiter)
    made = [path, path.parent, path / "x", "x" / path, path.joinpath("x"), path.with_segments("x"), *path.parents]
    assert {each.limiter for each in made} == {limiter}
    assert (Path().limiter, bridgeio.wrap_file(io.StringIO(), limiter=limiter).limiter) == (None, limiter)
    for refused in (lambda: Path("a", limiter=3), lambda: bridgeio.wrap_file(io.StringIO(), limiter=3)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="limiter"):
            refused()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="pathlib has these from Python 3.13 on")
def test_names_that_came_with_python_3_13() -> None:
    """They answer as pathlib's."""
    path: Any = OwnPath("/a/b.c")
    assert path.full_match("/**/*.c")
    assert not path.full_match(Path("/*.c"))
    assert type(path.from_uri("file:///a/b")) is OwnPath
    assert path.parser is os.path
    assert path.with_segments("x", "y") == pathlib.Path("x/y")
    assert path.relative_to("/b", walk_up=True) == pathlib.Path("../a/b.c")
    assert path.match("*.C", case_sensitive=False)
