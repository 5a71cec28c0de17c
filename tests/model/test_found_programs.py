"""Programs with which the model test found a mistake, each as small as it could be made."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from modelling.checking import check
from modelling.programs import (
    Cancel,
    Checkpoint,
    Fail,
    Group,
    GuardCancel,
    Program,
    SetShield,
    Sleep,
    Spawn,
    Start,
    Started,
    Within,
)
from modelling.state import Rules
from modelling.worlds import Bridge, PlainTrio

FOUND = {
    # A group that fails ends a child by its scope, and has caught that; it told of its block only.
    "a group catches what ended its children": Program((Group("g1", (Spawn("g1", "t1", (Sleep(1.0),)), Fail("f1"))),)),
    "a group without failures, too": Program((Group("g1", (Spawn("g1", "t1", (Sleep(1.0),)), Cancel("g1"))),)),
    # The child was cancelled with its caller, said so, and went on in a group that nobody had cancelled.
    "a child that starts too late stays with its caller": Program(
        (
            Group(
                "g1",
                (
                    Within(
                        "s1",
                        (
                            Start(
                                "g1",
                                "t1",
                                (GuardCancel((Sleep(5.0),), (Started(), Sleep(2.0)), swallows=True), Sleep(3.0)),
                            ),
                        ),
                        deadline=1.5,
                    ),
                    Sleep(1.0),
                ),
            ),
        )
    ),
    "and so does one whose group is cancelled": Program(
        (
            Group(
                "g1",
                (
                    Spawn("g1", "t1", (Start("g1", "t2", (Cancel("g1"), Started(), Sleep(1.0))),)),
                    Sleep(4.0),
                ),
            ),
        )
    ),
    # The model was wrong: who is cancelled before its child's silent end reaches it raises the cancellation.
    "a child that never starts, and a caller that is cancelled in that moment": Program(
        (Group("g1", (Spawn("g1", "t1", (Start("g1", "t2", ()),)), Checkpoint(), Fail("f1"))),)
    ),
    # The model was wrong: a shield may come between a cancellation and the wait that is about to hear of it.
    "a shield between a cancel and the next wait": Program(
        (
            Group(
                "g1",
                (
                    Spawn("g1", "t1", (SetShield("s2", True),)),
                    Within("s1", (Cancel("s1"), Within("s2", (Checkpoint(), Sleep(1.0)), deadline=1.5))),
                ),
            ),
        )
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_trio_keeps_the_rules(name: str) -> None:
    """What was found is judged by Trio itself."""
    check(FOUND[name], PlainTrio(), Rules.TRIO, "plain Trio", "pytest tests/model/test_found_programs.py")


@pytest.mark.bridgeio
@pytest.mark.parametrize("name", FOUND)
def test_a_backend_keeps_the_rules(name: str, backend: str, backend_options: Mapping[str, object]) -> None:
    """What was found stays found, on each backend."""
    rules = Rules.TRIO if backend == "trio" else Rules.KERNEL
    repeat = f"pytest tests/model/test_found_programs.py --backend {backend}"
    check(FOUND[name], Bridge(backend, backend_options), rules, backend, repeat)
