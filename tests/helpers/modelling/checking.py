"""One program in one world, held against the model."""

from __future__ import annotations

from functools import lru_cache

from modelling.interpreting import outcome_in
from modelling.programs import Program
from modelling.semantics import Outcome, allowed_outcomes
from modelling.state import Rules
from modelling.worlds import World

__all__ = ["LIMIT", "HangsError", "check"]

LIMIT = 3_000  # states of a program; one in some thousand has more, and is left out


class HangsError(BaseException):
    """A run was ended from outside, by the test's timeout. It is no `Exception`: hypothesis would run the program again
    and again to make it smaller, and hang each time."""


def check(program: Program, world: World, rules: Rules, where: str, repeat: str) -> None:
    """Runs it, and asks whether what it did is allowed.

    :raises AssertionError: with all that is needed to see what happened, and to see it again.
    :raises TooManyStatesError: if its model is too large.
    :raises UndefinedInTrioError: if Trio would not know what to do.
    """
    allowed = _allowed(program, rules)
    outcome = _outcome(program, world, where)
    if outcome not in allowed:
        raise AssertionError(report(program, where, outcome, allowed, repeat))


@lru_cache(maxsize=1_000)
def _allowed(program: Program, rules: Rules) -> frozenset[Outcome]:
    """Remembered, because in one session every backend is given the same programs."""
    return allowed_outcomes(program, rules, LIMIT)


def _outcome(program: Program, world: World, where: str) -> Outcome:
    try:
        return outcome_in(world, program)
    except Exception as error:
        raise AssertionError(f"on {where}, more came out than the program's own errors:\n{program!r}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise HangsError(f"on {where}, this program did not end:\n{program!r}") from error


def report(program: Program, where: str, outcome: Outcome, allowed: frozenset[Outcome], repeat: str) -> str:
    nearest = max(allowed, key=lambda other: len(set(other) & set(outcome)))
    lines = [f"{where} does what the model does not allow", "", repr(program), ""]
    lines += [f"allowed are {len(allowed)} outcomes; this is the nearest, and this is what happened instead:"]
    should = dict(nearest)
    for name, log in outcome:
        if should.get(name) != log:
            lines += [f"  {name}", f"    allowed:  {should.get(name)}", f"    happened: {log}"]
    lines += [f"  {name} did not run" for name in should if name not in dict(outcome)]
    lines += ["", *(f"allowed: {other}" for other in sorted(allowed)[:20]), "", f"to repeat it: {repeat}"]
    return "\n".join(lines)
