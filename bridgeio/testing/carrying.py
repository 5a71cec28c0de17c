"""Running one async test on one backend, with evidence, a deadline, and a count of what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.choosing import is_patched
from bridgeio.testing.proof import PRESENT, Witness
from bridgeio.testing.resources import holdings, wait_until_back
from bridgeio.testing.timeouts import ended_after

__all__ = ["Carrier"]

# What pytest's own functions raise is no Exception, and frameworks treat such errors each in its own way.
TEST_OUTCOMES = (Exception, pytest.fail.Exception, pytest.skip.Exception, pytest.xfail.Exception)


@dataclass(slots=True)
class Outcome:
    """How the test ended, brought out of the run by hand: not every framework would let it through."""

    ran: bool = False
    error: BaseException | None = None


@dataclass(slots=True)
class Carrier:
    """Runs tests on one backend.

    :ivar timeout: seconds for one test.
    """

    witness: Witness
    options: Mapping[str, object]
    timeout: float
    warm: bool = field(default=False)

    def carry(self, test: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Runs the test and raises what it raised, with the test's own traceback.

        :raises AssertionError: if it did not run where it should, or has left something behind.
        """
        self.warm_up()
        before = holdings(self.witness, running=False)
        outcome = Outcome()
        bridgeio.run(self._attempt, test, outcome, backend=self.witness.backend, backend_options=self.options)
        if is_patched():
            current_host().close()  # a patched program's hub outlives the run: here each test has its own
        if outcome.error is not None:
            raise outcome.error
        assert outcome.ran, f"{self.witness.backend} has returned from run() without running the test"
        wait_until_back(self.witness, before)

    async def _attempt(self, test: Callable[[], Coroutine[Any, Any, object]], outcome: Outcome) -> None:
        PRESENT.set(self.witness)
        try:
            await self.witness.prove()
            with ended_after(self.timeout):
                await test()
            await self.witness.prove()
            outcome.ran = True
        except TEST_OUTCOMES as error:
            outcome.error = error

    def warm_up(self) -> None:
        """What a framework makes at its first run and keeps for good is not the first test's."""
        if not self.warm:
            self.warm = True
            bridgeio.run(_first_run, backend=self.witness.backend, backend_options=self.options)


async def _first_run() -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(bridgeio.sleep, 0)
