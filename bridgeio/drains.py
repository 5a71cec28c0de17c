"""The waits of a `Writer`'s tasks, until enough is flushed or all is closed."""

from __future__ import annotations

from typing import Protocol

from bridgeio.contract import Task

__all__ = ["Drain"]


class Drained(Protocol):
    """A writer, as far as a wait for it has to know it."""

    def forget_drainer(self, task: Task) -> bool: ...
    def doing(self, until_closed: bool) -> str: ...


class Drain:
    """One task's wait for a writer. Calling it is the wait's ``abort``."""

    __slots__ = ("_task", "_until_closed", "_writer")

    def __init__(self, writer: Drained, task: Task, until_closed: bool) -> None:
        self._writer = writer
        self._task = task
        self._until_closed = until_closed

    def __call__(self) -> bool:
        return self._writer.forget_drainer(self._task)

    def doing(self, abort: object) -> str:
        return self._writer.doing(self._until_closed)
