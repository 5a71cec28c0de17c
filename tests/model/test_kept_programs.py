"""Programs that are kept: what the model test found, and the mistakes that others have made before."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from modelling.checking import check
from modelling.judging import PlainTrio
from modelling.kept import FOUND, KNOWN
from modelling.semantics import UndefinedInTrioError, allowed_outcomes
from modelling.state import Rules
from modelling.worlds import Bridge

KEPT = FOUND | KNOWN
UNDEFINED_IN_TRIO = "a shield between a cancel and the next wait"


@pytest.mark.bridgeio("trio")
@pytest.mark.usefixtures("backend")  # and by that never in a process that gevent has patched
@pytest.mark.parametrize("name", [name for name in KEPT if name != UNDEFINED_IN_TRIO])
def test_trio_keeps_the_rules(name: str) -> None:
    """What is kept is judged by Trio itself."""
    check(KEPT[name], PlainTrio(), Rules.PLAIN_TRIO, "plain Trio", "pytest tests/model/test_kept_programs.py")


@pytest.mark.bridgeio
@pytest.mark.parametrize("name", KEPT)
def test_a_backend_keeps_the_rules(name: str, backend: str, backend_options: Mapping[str, object]) -> None:
    """What was found stays found, and what others have got wrong is right, on each backend."""
    rules = Rules.TRIO if backend == "trio" else Rules.KERNEL
    repeat = f"pytest tests/model/test_kept_programs.py --backend {backend}"
    if backend == "trio" and name == UNDEFINED_IN_TRIO:
        with pytest.raises(UndefinedInTrioError):
            allowed_outcomes(KEPT[name], rules)
        return
    check(KEPT[name], Bridge(backend, backend_options), rules, backend, repeat)
