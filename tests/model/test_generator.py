"""What the random programs are worth: which features they have, and how sharp the model's answers are."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import Phase, given, seed, settings

from modelling import programs as language
from modelling.generating import THEMES, programs
from modelling.programs import Group, Op, Program, Receive, Send, Spawn, WaitEvent, Within, every_op
from modelling.semantics import TooManyStatesError, allowed_outcomes
from modelling.state import Rules

EXAMPLES = 600


def generated() -> list[Program]:
    """The programs of an ordinary session."""
    found: list[Program] = []

    for theme in THEMES:

        @seed(1)
        @settings(max_examples=EXAMPLES // len(THEMES), database=None, deadline=None, phases=[Phase.generate])
        @given(programs(theme))
        def collect(program: Program) -> None:
            found.append(program)

        collect()
    return found


def test_every_kind_of_step_is_used() -> None:
    """An ordinary session has each kind of step in several programs."""
    kinds = {kind.__name__ for kind in vars(language).values() if isinstance(kind, type) and issubclass(kind, Op)}
    used = Counter(name for program in generated() for name in {type(op).__name__ for op in every_op(program.body)})
    assert kinds - {"Op"} == set(used)
    assert min(used.values()) >= 5, used


def test_the_model_answers_sharply() -> None:
    """For most programs the model allows one outcome only, for some it has to allow several, and few are too
    large for it. Each of them ends."""
    sizes: Counter[str] = Counter()
    for program in generated():
        try:
            outcomes = allowed_outcomes(program, Rules.KERNEL, limit=3_000)
        except TooManyStatesError:
            sizes["too many states"] += 1
        else:
            sizes["one" if len(outcomes) == 1 else "several"] += 1
            assert not any("hangs" in log for outcome in outcomes for _, log in outcome), program
    assert sizes["one"] > EXAMPLES * 0.6, sizes
    assert sizes["several"] > EXAMPLES * 0.03, sizes
    assert sizes["too many states"] < EXAMPLES * 0.03, sizes


def test_every_order_of_two_tasks_is_allowed() -> None:
    """What two tasks do in the same moment they may do in either order."""
    children = (Spawn("g1", "t1", (Send("c1", "i1"),)), Spawn("g1", "t2", (Send("c1", "i2"),)))
    program = Program((Group("g1", (*children, Receive("c1"))),))
    received = {dict(outcome)["main"][0] for outcome in allowed_outcomes(program, Rules.KERNEL)}
    assert received == {"0: received i1", "0: received i2"}


@pytest.mark.parametrize("rules", Rules)
def test_what_hangs_is_seen(rules: Rules) -> None:
    """A shield without an end would hang for ever; the model says so, and does not call it an end."""
    program = Program((Within("s1", (WaitEvent("e1"),), shield=True),))
    assert allowed_outcomes(program, rules) == {(("main", ("hangs",)),)}
