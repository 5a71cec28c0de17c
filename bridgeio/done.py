"""What is over at once, however often it is awaited."""

from __future__ import annotations

from collections.abc import Generator
from types import coroutine
from typing import Any, Final

__all__ = ["DONE"]


@coroutine
def _nothing() -> Generator[None, None, None]:
    yield from ()


def _ended(awaitable: Any) -> Any:
    awaitable.close()
    return awaitable


# For a wait that has blocked by the time it returns. A generator that has ended may be awaited again and again, and
# enters no frame.
DONE: Final[Any] = _ended(_nothing())
