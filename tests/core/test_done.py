"""What is over at once, however often it is awaited."""

from __future__ import annotations

import threading
from typing import Any

from bridgeio.done import DONE


def _steps_of(times: int) -> int:
    """How often somebody who awaits it so many times gives way."""
    steps = 0

    async def wait() -> None:
        for _ in range(times):
            assert await DONE is None

    waiting: Any = wait().__await__()
    for _ in waiting:
        steps += 1
    return steps


def test_what_is_done_is_awaited_again_and_again() -> None:
    """Nobody waits, however often and in however many threads."""
    assert _steps_of(1000) == 0
    steps: list[int] = []
    threads = [threading.Thread(target=lambda: steps.append(_steps_of(1000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps == [0] * 4
