"""What tests have tasks and runs call for them: async functions that give a result, or raise what they are told to."""

from __future__ import annotations

import bridgeio

__all__ = ["add", "fail", "fail_at_once"]


async def add(one: int, two: int) -> int:
    """Their sum, after a turn of the others."""
    await bridgeio.sleep(0)
    return one + two


async def fail(error: BaseException) -> None:
    """Raises it, likewise."""
    await bridgeio.sleep(0)
    raise error


async def fail_at_once(error: BaseException) -> None:
    raise error
