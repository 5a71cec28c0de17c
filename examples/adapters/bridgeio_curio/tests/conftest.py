"""Evidence of curio's own that a test runs on curio."""

from __future__ import annotations

import curio
from curio.meta import curio_running

from bridgeio.testing import Witness


class CurioWitness(Witness):
    """A kernel runs in this thread, and answers that a task of its own is running."""

    independent = True

    async def prove(self) -> None:
        self.check(curio_running(), "no curio kernel is running in this thread")
        task = await curio.current_task()
        self.check(isinstance(task, curio.Task), "no curio task is running")


def pytest_bridgeio_witness(backend: str) -> Witness | None:
    return CurioWitness(backend) if backend == "curio" else None
