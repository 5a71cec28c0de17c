"""What a process holds: descriptors, threads, tasks. And the wait until it holds no more than before."""

from __future__ import annotations

import _thread
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from traceback import format_stack

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.proof import PRESENT, Witness, witness_of
from bridgeio.threadcache import cache
from bridgeio.unpatched import original

__all__ = ["Holdings", "holdings", "open_descriptors", "unchanged", "until", "wait_until_back"]

TASKS = Path("/proc/self/task")
TURN = 0.02  # seconds
COLLECTS = 10  # so many turns lie between two collections: they take long, and what ends by itself needs none
PATIENCE = 1000  # turns until what is still held counts as leaked: counted, because a machine may stand still


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
        return (
            f"{counts}; new descriptors: {sorted(self.named - before.named)}; threads are at:\n{_where_threads_are()}"
        )


def holdings(witness: Witness, *, running: bool) -> Holdings:
    """What this process holds now; tasks only where the witness's loop is running."""
    named = open_descriptors()
    busy = threads() - witness.kept_threads() - cache.idle
    return Holdings(len(named), busy, witness.tasks() if running else 0, frozenset(named))


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
    """Every thread of the process where the system says so, else every one that Python started.

    Linux lists its own workers for io_uring among them. It starts one when two processes happen to nest epolls
    at the same time and a loop of uvloop's is one of the two, and keeps it.
    """
    if not TASKS.exists():
        return _thread._count() + 1
    return sum(_is_thread_of_ours(task) for task in TASKS.iterdir())


def _is_thread_of_ours(task: Path) -> bool:
    try:
        return not (task / "comm").read_text(errors="replace").startswith("iou-")
    except OSError:
        return False  # it has ended meanwhile


def _where_threads_are() -> str:
    """The innermost frame of each thread that runs Python."""
    return "".join(line for frame in sys._current_frames().values() for line in format_stack(frame)[-1:])


async def until(condition: Callable[[], object]) -> None:
    """Waits until the condition holds. The test's own timeout bounds it, and shows where it waited."""
    while not condition():
        await bridgeio.sleep(0.002)


def _collect_at(turn: int) -> None:
    if turn % COLLECTS == 1:
        gc.collect()


@asynccontextmanager
async def unchanged() -> AsyncIterator[None]:
    """A block after which descriptors, threads and tasks are as many as before.

    :raises AssertionError: if they are still more many turns after the block.
    """
    witness = PRESENT.get(None) or witness_of(bridgeio.current_backend())
    current_host().poller()  # made at first use, and then kept
    before = holdings(witness, running=True)
    yield
    for turn in range(PATIENCE):
        if not holdings(witness, running=True).exceeds(before):
            return
        _collect_at(turn)
        await bridgeio.sleep(TURN)
    after = holdings(witness, running=True)
    assert not after.exceeds(before), f"left behind by this block: {after.compared_with(before)}"


def wait_until_back(witness: Witness, before: Holdings) -> None:
    """The same after a run, where nothing can be awaited.

    :raises AssertionError: if more is held, many turns after the run.
    """
    pause = original("time", "sleep")
    for turn in range(PATIENCE):
        if not holdings(witness, running=False).exceeds(before):
            return
        _collect_at(turn)
        pause(TURN)
    after = holdings(witness, running=False)
    assert not after.exceeds(before), f"left behind by this test: {after.compared_with(before)}"
