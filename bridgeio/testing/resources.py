"""What a process holds: descriptors, threads, tasks. And the wait until it holds no more than before."""

from __future__ import annotations

import _thread
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.proof import PRESENT, Witness, witness_of
from bridgeio.unpatched import original

__all__ = ["Holdings", "holdings", "open_descriptors", "unchanged", "until", "wait_until_back"]

PATIENCE = 25.0  # seconds until what is still held counts as leaked; on a busy machine 2,000 threads take a while


@dataclass(frozen=True, slots=True)
class Holdings:
    """A count, and the names that make a difference understandable.

    :ivar tasks: the framework's own count; 0 outside a run.
    """

    descriptors: int
    threads: int
    tasks: int
    named: frozenset[str] = field(compare=False)

    def exceeds(self, before: Holdings) -> bool:
        return self.descriptors > before.descriptors or self.threads > before.threads or self.tasks > before.tasks

    def compared_with(self, before: Holdings) -> str:
        counts = ", ".join(
            f"{name} {getattr(before, name)} -> {getattr(self, name)}" for name in ("descriptors", "threads", "tasks")
        )
        return f"{counts}; new descriptors: {sorted(self.named - before.named)}"


def holdings(witness: Witness, *, running: bool) -> Holdings:
    """What this process holds now; tasks only where the witness's loop is running."""
    named = open_descriptors()
    return Holdings(len(named), threads() - witness.kept_threads(), witness.tasks() if running else 0, frozenset(named))


def open_descriptors() -> list[str]:
    """Every open descriptor with what it leads to."""
    with os.scandir("/dev/fd") as entries:
        numbers = [entry.name for entry in entries]
    return [f"{number}:{leads_to(number)}" for number in numbers]


def leads_to(number: str) -> str:
    try:
        return os.readlink(f"/dev/fd/{number}")
    except OSError:
        return "?"


def threads() -> int:
    """Every thread of the process where the system says so, else every one that Python started."""
    tasks = Path("/proc/self/task")
    return len(os.listdir(tasks)) if tasks.exists() else _thread._count() + 1


async def until(condition: Callable[[], object]) -> None:
    """Waits until the condition holds. The test's own timeout bounds it, and shows where it waited."""
    while not condition():
        await bridgeio.sleep(0.002)


@asynccontextmanager
async def unchanged() -> AsyncIterator[None]:
    """A block after which descriptors, threads and tasks are as many as before.

    :raises AssertionError: if they are still more some seconds after the block.
    """
    witness = PRESENT.get(None) or witness_of(bridgeio.current_backend())
    current_host().poller()  # made at first use, and then kept
    before = holdings(witness, running=True)
    yield
    with bridgeio.move_on_after(PATIENCE):
        while holdings(witness, running=True).exceeds(before):
            gc.collect()
            await bridgeio.sleep(0.005)
    after = holdings(witness, running=True)
    assert not after.exceeds(before), after.compared_with(before)


def wait_until_back(witness: Witness, before: Holdings) -> None:
    """The same after a run, where nothing can be awaited.

    :raises AssertionError: if more is held, some seconds after the run.
    """
    clock, pause = original("time", "monotonic"), original("time", "sleep")
    deadline = clock() + PATIENCE
    while (after := holdings(witness, running=False)).exceeds(before):
        if clock() > deadline:
            raise AssertionError(f"left behind by this test: {after.compared_with(before)}")
        gc.collect()
        pause(0.005)
