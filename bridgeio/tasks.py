"""Who runs: `TaskInfo`, and the tree of tasks, read out of the cancellation tree.

Rule 1: nothing is kept up to date for this: who looks pays, and a task that nobody looks at pays nothing.
Rule 2: all of it may be called at any moment, from another thread and from a signal handler: it takes no
lock, and copies each set in one step of the interpreter before it goes through it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Any, NamedTuple

from bridgeio.cancellation import Scope

__all__ = ["ScopeState", "TaskInfo", "families", "info_of", "parent_of", "scope_states"]


class TaskInfo:
    """What a task looked like when it was asked for.

    :ivar id: tells living tasks of one process apart.
    :ivar parent_id: of the task whose group it is in; ``None`` for one that is nobody's child.
    :ivar name: what it was called, or where its function was defined.
    :ivar coro: the coroutine that it runs; ``None`` where there is none (a greenlet of somebody else's).
    """

    __slots__ = ("_asked", "coro", "id", "name", "parent_id")

    def __init__(self, task_id: int, parent_id: int | None, name: str, coro: Any, asked: Callable[[], bool]) -> None:
        self.id = task_id
        self.parent_id = parent_id
        self.name = name
        self.coro = coro
        self._asked = asked

    def has_pending_cancellation(self) -> bool:
        """Whether its next wait, or the one it is in, is cancelled. Asks the task as it is now; one that has
        ended has nothing to come."""
        return self._asked()

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, TaskInfo) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id!r}, name={self.name!r})"


# The tasks here are `bridgeio.contract.Task`, which stands above this room.


def info_of(task: Any) -> TaskInfo:
    """It does not keep the task alive."""
    parent = parent_of(task)
    asked = partial(_has_pending_cancellation, weakref.ref(task))
    return TaskInfo(id(task), None if parent is None else id(parent), task.name, task.coro, asked)


def parent_of(task: Any) -> Any:
    """The task in whose scope this one's root stands; ``None`` for a root of the tree."""
    node: Scope | None = task.scope
    while node is not None and (node.task is task or node.task is None):
        node = node.parent
    return None if node is None else node.task


class ScopeState(NamedTuple):
    """What a scope around a task looked like.

    :ivar called: it was cancelled, itself.
    :ivar deadline: on the host's clock.
    :ivar owner: the task that has entered it, if that is known.
    """

    called: bool
    shielded: bool
    deadline: float
    owner: Any


def scope_states(task: Any) -> list[ScopeState]:
    """The scopes around a task, its ancestors' too, the innermost first."""
    states = []
    node: Scope | None = task.scope
    while node is not None:
        states.append(ScopeState(node.called, node.shielded, getattr(node, "deadline", inf), node.task))
        node = node.parent
    return states


def families(tasks: Iterable[Any]) -> list[Any]:
    """These tasks with all their ancestors and all that stand below them, each once."""
    nodes = list({_top(task.scope): None for task in tasks})
    found: dict[Any, None] = {}
    while nodes:
        node = nodes.pop()
        if node.task is not None:
            found[node.task] = None
        nodes.extend(list(node.children))
    return list(found)


def _top(node: Scope) -> Scope:
    while node.parent is not None:
        node = node.parent
    return node


def _has_pending_cancellation(ref: weakref.ref[Any]) -> bool:
    task = ref()
    return task is not None and task.has_pending_cancellation()
