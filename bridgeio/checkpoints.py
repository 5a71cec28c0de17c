"""The two ends of every async function of bridgeio, whether or not it has to wait in between.

It looks whether its task is cancelled before it takes anything, and gives way to others at most after it,
shielded: what it took is never lost. Code that finds all it asks for at once is cancelled as readily as code
that waits, and keeps nobody from his turn.

`Reader.read`, ``readline``, ``readuntil``, ``readexactly``, `Writer.drain` and ``wait_closed`` have both written out,
and so have a lock's and a semaphore's ``acquire``, `Event.wait`, what puts an item somewhere or gets one, and a server
that accepts: in functions as small as these a call more, and a coroutine above all, is a measurable part of the whole.
"""

from __future__ import annotations

from bridgeio.contract import Task
from bridgeio.registry import current_task

__all__ = ["begin", "spend"]


async def begin() -> Task:
    """The calling task, which is not cancelled."""
    task = current_task()
    if task.scope.cancelled or task.kept:
        await task.checkpoint_if_cancelled()
    return task


async def spend(task: Task) -> None:
    """One operation of the task's budget. Not needed after a wait, which has filled it up."""
    task.budget -= 1
    if task.budget <= 0:
        await task.give_way()
