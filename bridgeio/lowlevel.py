"""Checkpoints, for code that waits on nothing of ours and wants to be fair and cancellable."""

from __future__ import annotations

from bridgeio.registry import current_task

__all__ = ["cancel_shielded_checkpoint", "checkpoint", "checkpoint_if_cancelled"]


async def checkpoint() -> None:
    """Raises if the task is cancelled, then gives way to others once."""
    task = current_task()
    if task.scope.cancelled:
        await task.checkpoint_if_cancelled()
    await task.give_way()


async def checkpoint_if_cancelled() -> None:
    """Raises if the task is cancelled; gives way to nobody."""
    await current_task().checkpoint_if_cancelled()


async def cancel_shielded_checkpoint() -> None:
    """Gives way to others once; a cancellation waits for the next checkpoint."""
    await current_task().give_way()
