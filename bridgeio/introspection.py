"""Asking who runs, with AnyIO's names and meaning."""

from __future__ import annotations

from bridgeio.contract import TaskInfo
from bridgeio.registry import current_task

__all__ = ["get_current_task", "get_running_tasks"]


def get_current_task() -> TaskInfo:
    """The calling task.

    :raises NoBackendError: outside any framework, and in callbacks, which are no tasks.
    """
    return current_task().info()


def get_running_tasks() -> list[TaskInfo]:
    """The tasks of the calling task's loop, itself included, that bridgeio knows.

    Those are the tasks that it started, and the framework's own that have called it. On Trio they are all
    of the run, Trio's own service tasks too.

    :raises NoBackendError: outside any framework, and in callbacks, which are no tasks.
    """
    return [task.info() for task in current_task().host.census()]
