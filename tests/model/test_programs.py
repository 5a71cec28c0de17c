"""Random programs do on every backend what the rules allow, and Trio is the judge of the rules.

The same programs in each session; ``BRIDGEIO_MODEL_EXAMPLES=20000`` asks for more of them, and
``BRIDGEIO_MODEL_SEED=7`` for others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import Phase, given, reject, seed, settings

from modelling.checking import check
from modelling.generating import THEMES, programs
from modelling.judging import PlainTrio
from modelling.programs import Program
from modelling.semantics import TooManyStatesError, UndefinedInTrioError
from modelling.state import Rules
from modelling.worlds import Bridge, World

EXAMPLES = int(os.environ.get("BRIDGEIO_MODEL_EXAMPLES", "600"))
SEED = int(os.environ.get("BRIDGEIO_MODEL_SEED", "1"))


def on_random_programs(theme: str, test: Callable[[Program], None]) -> None:
    """Not ``derandomize``: then more examples would not be other ones. No database: what was found becomes a test in
    `modelling.kept`, for everybody. No deadline: a busy machine is no bug. Nothing is explained: it would run
    each program hundreds of times, to blame lines of this test's own machinery."""
    chosen = settings(
        max_examples=max(1, EXAMPLES // len(THEMES)),
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    decorated: Any = seed(SEED)(chosen(given(programs(theme))(test)))
    decorated()


@pytest.mark.bridgeio("trio")
@pytest.mark.usefixtures("backend")  # and by that never in a process that gevent has patched
def test_trio_keeps_the_rules() -> None:
    """Trio, without a line of bridgeio, does nothing that the model calls a mistake."""
    judge(PlainTrio(), Rules.PLAIN_TRIO, "plain Trio", "tests/model/test_programs.py::test_trio_keeps_the_rules[trio]")


@pytest.mark.bridgeio
def test_a_backend_keeps_the_rules(
    backend: str, backend_options: Mapping[str, object], request: pytest.FixtureRequest
) -> None:
    """Scopes, shields, deadlines, groups, locks, conditions, barriers, channels, queues and failures do on each
    backend what the model allows."""
    rules = Rules.TRIO if backend == "trio" else Rules.KERNEL
    judge(Bridge(backend, backend_options), rules, backend, request.node.nodeid)


def judge(world: World, rules: Rules, where: str, test: str) -> None:
    repeat = f'BRIDGEIO_MODEL_SEED={SEED} BRIDGEIO_MODEL_EXAMPLES={EXAMPLES} pytest "{test}"'

    def keeps_the_rules(program: Program) -> None:
        try:
            check(program, world, rules, where, repeat)
        except (TooManyStatesError, UndefinedInTrioError):
            reject()

    for theme in THEMES:
        on_random_programs(theme, keeps_the_rules)
