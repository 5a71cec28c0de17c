"""For those who build on what others have: checkpoints, descriptors, and what belongs to a run."""

from __future__ import annotations

from contextlib import AbstractContextManager

from bridgeio.checkpoints import begin
from bridgeio.readiness import HasFileno, notify_closing, wait_readable, wait_writable
from bridgeio.registry import current_host, current_task
from bridgeio.runvars import EventLoopToken, RunVar, RunvarToken, current_token

__all__ = [
    "EventLoopToken",
    "HasFileno",
    "RunVar",
    "RunvarToken",
    "blocking_section",
    "cancel_shielded_checkpoint",
    "checkpoint",
    "checkpoint_if_cancelled",
    "current_token",
    "notify_closing",
    "wait_readable",
    "wait_writable",
]


def blocking_section() -> AbstractContextManager[None]:
    """A ``with`` block for calls that block in their own way, such as a database driver's.

    On threads the other tasks of the run go on meanwhile; elsewhere it does nothing, and such a
    call stops the loop. Inside it the task must not call bridgeio, and shares nothing with other
    tasks that they do not share with a thread.
    """
    return current_host().blocking_section()


async def checkpoint() -> None:
    """Raises if the task is cancelled, then gives way to others once."""
    await (await begin()).give_way()


async def checkpoint_if_cancelled() -> None:
    """Raises if the task is cancelled; gives way to nobody."""
    await current_task().checkpoint_if_cancelled()


async def cancel_shielded_checkpoint() -> None:
    """Gives way to others once; a cancellation waits for the next checkpoint."""
    await current_task().give_way()
