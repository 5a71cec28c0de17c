"""What tests of a meeting need: somebody else who acts at a certain moment, or in another run."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import bridgeio
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

__all__ = ["in_a_run_of_its_own", "turns", "when"]


async def turns(count: int) -> None:
    """Lets others go on, so many times."""
    for _ in range(count):
        await bridgeio.sleep(0)


async def when(condition: Callable[[], object], call: Callable[[], object]) -> None:
    """Calls once the condition holds. For a task of its own."""
    await until(condition)
    call()


def in_a_run_of_its_own(function: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Starts another run, in a real thread, and does not wait for it."""
    original("_thread", "start_new_thread")(partial(bridgeio.run, backend="threads"), (function,))
