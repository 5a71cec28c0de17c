"""The poller that is none: it remembers which sources have bytes left over, and who polls for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridgeio.contract import Poller
from bridgeio_threads.parking import WRITE, Arm

if TYPE_CHECKING:
    from bridgeio_threads.host import ThreadsHost
    from bridgeio_threads.task import ThreadTask

__all__ = ["ThreadsPoller"]


class ThreadsPoller(Poller):
    """Notes on each task what its next wait is for. Waiting is the task's own.

    :ivar wanted: sources with bytes left over, each with the one who polls until they can be sent:
        a task, the attendant, or nobody yet.
    """

    arms_each_wait = True

    def __init__(self, host: ThreadsHost) -> None:
        super().__init__(host.call_soon_threadsafe)
        self.wanted: dict[Any, object] = {}
        self._host = host

    def arm(self, source: Any, task: ThreadTask, events: int) -> None:
        task.arms.append((source, events))

    def want_write(self, source: Any, wanted: bool) -> None:
        if not wanted:
            self.wanted.pop(source, None)
        elif source not in self.wanted:
            self.wanted[source] = None
            self._host.unserved = True

    def covered_by(self, task: ThreadTask) -> None:
        """The task, about to park, polls for some of them itself: it is draining, or reads from the same peer. To
        have the attendant wake for what an echo has left over would be two more changes of threads for a message."""
        for source, events in [*task.arms] if self.wanted else ():
            if events == WRITE and source in self.wanted:
                self.wanted[source] = task
            elif self.wanted.get(source, task) is None:
                task.arms.append((source, WRITE))
                self.wanted[source] = task

    def given_to(self, server: object) -> list[Arm]:
        """Those that nobody polls for are somebody's now."""
        taken = [source for source, polled_by in self.wanted.items() if polled_by is None]
        for source in taken:
            self.wanted[source] = server
        return [(source, WRITE) for source in taken]

    def left_by(self, server: object) -> None:
        """What somebody polled for, nobody does now."""
        for source, polled_by in self.wanted.items():
            if polled_by is server:
                self.wanted[source] = None
                self._host.unserved = True

    def close(self) -> None:
        self.wanted.clear()

    def fileno(self) -> int:
        return -1

    def _add(self, source: Any, write: bool) -> None:
        """There is nowhere to register: a number is polled while a task waits for it."""

    def _change(self, source: Any, write: bool) -> None:
        """As for ``_add``."""

    def _remove(self, source: Any) -> None:
        self.wanted.pop(source, None)

    def _fetch(self, most: int) -> list[tuple[int, int]]:
        return []
