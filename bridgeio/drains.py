"""The waits of a `Writer`'s tasks, until enough is flushed or all is closed."""

from __future__ import annotations

from collections.abc import Callable

from bridgeio.contract import Task
from bridgeio.ends import ByteSink
from bridgeio.errors import show_address

__all__ = ["Drainers"]


class Drainers:
    """The tasks that wait for a writer. Whenever they are woken, each looks for itself whether it waits on.

    :ivar sink: where the writer's bytes go.
    :ivar tasks: in the order in which they came.
    """

    __slots__ = ("sink", "tasks")

    def __init__(self, sink: ByteSink) -> None:
        self.sink = sink
        self.tasks: list[Task] = []

    def __len__(self) -> int:
        return len(self.tasks)

    async def wait(self, task: Task, reached: Callable[[], bool], doing: str) -> None:
        """Until ``reached()``, which is asked at once and at each `wake_all`.

        :param doing: for those who look at a task that hangs, and followed by the peer's address.
        """
        sink = self.sink
        if task.host is not sink.host and not reached():
            raise sink.of_another_run()
        drain = Drain(self, task, doing)
        while not reached():
            if task.scope.cancelled:  # since it was woken, maybe for another's sake: no second wake-up will come
                await task.checkpoint_if_cancelled()
            self.tasks.append(task)
            await task.park(drain)

    def wake_all(self) -> None:
        """Those who wait now."""
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.wake()


class Drain:
    """One task's wait. Calling it is the wait's ``abort``."""

    __slots__ = ("_doing", "_drainers", "_task")

    def __init__(self, drainers: Drainers, task: Task, doing: str) -> None:
        self._drainers = drainers
        self._task = task
        self._doing = doing

    def __call__(self) -> bool:
        if self._task not in self._drainers.tasks:
            return False  # it is being woken
        self._drainers.tasks.remove(self._task)
        return True

    def doing(self, abort: object) -> str:
        return f"{self._doing} to {show_address(self._drainers.sink.peer)}"
