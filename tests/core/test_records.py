"""Immutable objects with named fields: what frozen dataclasses promise, and their words where they refuse."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from bridgeio.records import Record


class Point(Record):
    x: int
    y: int = 0


class Named(Record, kw_only=True):
    name: str
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("too small")


def test_fields_are_given_by_place_or_by_name() -> None:
    """A default stands for what is left out."""
    points = [Point(1), Point(1, 0), Point(x=1), Point(1, y=0), Point(y=0, x=1)]
    assert [(point.x, point.y) for point in points] == [(1, 0)] * 5


def test_keyword_only_fields_have_no_place() -> None:
    """What may get more fields in between is not to be given in order."""
    given: Any = Named
    with pytest.raises(TypeError, match=r"^Named\(\) takes 0 positional arguments, not 1$"):
        given("first")


@pytest.mark.parametrize(
    ("args", "named", "words"),
    [
        ((), {}, r"Point\(\) misses an argument: x"),
        ((1, 2, 3), {}, r"Point\(\) takes 2 positional arguments, not 3"),
        ((1,), {"x": 2}, r"Point\(\) got two values for one argument: x"),
        ((1,), {"z": 2}, r"Point\(\) got an unexpected argument: z"),
    ],
)
def test_wrong_arguments_are_refused(args: tuple[int, ...], named: dict[str, int], words: str) -> None:
    """As a function refuses them."""
    with pytest.raises(TypeError, match=words):
        Point(*args, **named)


def test_a_record_may_look_at_what_it_was_given() -> None:
    """``__post_init__`` runs when all fields are there."""
    assert Named(name="big").size == 1
    with pytest.raises(ValueError, match="too small"):
        Named(name="none", size=0)


def test_nothing_changes() -> None:
    """No field can be set or deleted, and nothing be added."""
    point: Any = Point(1, 2)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match=f"cannot set {name}: a Point is immutable"):
            setattr(point, name, 5)
    with pytest.raises(AttributeError, match="cannot delete x: a Point is immutable"):
        del point.x
    assert point == Point(1, 2)


def test_equal_fields_make_equal_records() -> None:
    """Of one class; and equal records are one key."""
    assert Point(1, 2) == Point(1, 2) != Point(2, 1)
    assert Point(1) != (1, 0)
    assert Point(1) != Named(name="x")
    assert len({Point(1, 2), Point(1, 2), Point(2, 1)}) == 2


def test_it_shows_its_fields() -> None:
    """In the form in which it could be made."""
    assert repr(Named(name="big", size=3)) == "Named(name='big', size=3)"


def test_help_shows_its_arguments() -> None:
    """With their types and defaults."""
    assert str(inspect.signature(Point)) == "(x: 'int', y: 'int' = 0)"
    assert str(inspect.signature(Named)) == "(*, name: 'str', size: 'int' = 1)"


def test_it_can_be_copied_changed_and_sent() -> None:
    """By `copy`, with changes (Python 3.13 has a function for that), and through pickle."""
    point = Point(1, 2)
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
    assert point.__replace__(y=5) == Point(1, 5)


def test_it_can_be_matched() -> None:
    """By place, and by name."""
    match Point(1, 2):
        case Point(x, y=2):
            assert x == 1
        case _:
            pytest.fail("did not match")
