"""Who runs: `TaskInfo`, and the tree of tasks, read out of the cancellation tree.

Rule 1: nothing is kept up to date for this: who looks pays, and a task that nobody looks at pays nothing.
Rule 2: all of it may be called at any moment, from another thread and from a signal handler: it takes no
lock, and copies each set in one step of the interpreter before it goes through it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from types import FrameType
from typing import Any

from bridgeio.cancellation import Scope
from bridgeio.records import Record

__all__ = ["Observed", "ScopeState", "TaskInfo", "families", "hosts", "parent_of", "remember"]


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


class Observed:
    """What others may ask of a `bridgeio.contract.Task`, at any moment and in any thread. Each answer is
    right where tasks stand in the core's tree and are coroutines that suspend; other adapters replace some."""

    __slots__ = ()

    def info(self: Any) -> TaskInfo:
        """The task as its users see it. It does not keep the task alive."""
        parent = parent_of(self)
        asked = partial(_has_pending_cancellation, weakref.ref(self))
        return TaskInfo(id(self), None if parent is None else id(parent), self.name, self.coro, asked)

    def has_pending_cancellation(self: Any) -> bool:
        """Whether its next wait, or the one it is in, is cancelled."""
        return self.scope.task is self and (self.scope.cancelled or self.kept)

    def scope_states(self: Any) -> list[ScopeState]:
        """The scopes around it, its ancestors' too, the innermost first."""
        states = []
        node: Scope | None = self.scope
        while node is not None:
            states.append(ScopeState(node.called, node.shielded, getattr(node, "deadline", inf), node.task))
            node = node.parent
        return states

    def running_in(self: Any) -> int:
        """`bridgeio.contract.Task.thread`, also if another thread asks."""
        thread: int = self.thread
        return thread

    def innermost_frame(self) -> FrameType | None:
        """Where it is, if it runs just now, or its coroutine does not suspend; ``None`` if that can tell."""
        return sys._current_frames().get(self.running_in())

    def native_wait(self) -> str | None:
        """What of the framework's it waits for, in words such as ``awaiting <Future pending>``."""
        return None

    def enter_native_wait(self: Any) -> None:
        """Not asked but told, by an adapter that sees the task begin to wait in an awaitable of the framework's.

        A cancel that the task has not heard of by then ends that wait at once; and who observes tasks
        (`bridgeio.testing.sweep`) sees the wait here.
        """
        scope = self.scope
        if scope.cancelled and not scope.edge and self.interrupt():
            scope.edge = True


# The hosts and tasks here are those of `bridgeio.contract`, which stands above this room.

_HOSTS: weakref.WeakKeyDictionary[Any, None] = weakref.WeakKeyDictionary()


def remember(host: Any) -> None:
    _HOSTS[host] = None


def hosts() -> list[Any]:
    """Every loop that bridgeio has been in, and that is still there."""
    return [host for ref in _HOSTS.keyrefs() if (host := ref()) is not None]


def parent_of(task: Any) -> Any:
    """The task in whose scope this one's root stands; ``None`` for a root of the tree."""
    node: Scope | None = task.scope
    while node is not None and (node.task is task or node.task is None):
        node = node.parent
    return None if node is None else node.task


class ScopeState(Record):
    """What a scope around a task looked like.

    :ivar called: it was cancelled, itself.
    :ivar deadline: on the host's clock.
    :ivar owner: the task that has entered it, if that is known.
    """

    called: bool
    shielded: bool
    deadline: float
    owner: Any


def families(tasks: Iterable[Any]) -> list[Any]:
    """These tasks with all their ancestors and all that stand below them, each once."""
    nodes = list({_top(task.scope): None for task in tasks})
    found: dict[Any, None] = {}
    while nodes:
        node = nodes.pop()
        if node.task is not None:
            found[node.task] = None
        nodes.extend(list(node.children or ()))
    return list(found)


def _top(node: Scope) -> Scope:
    while node.parent is not None:
        node = node.parent
    return node


def _has_pending_cancellation(ref: weakref.ref[Any]) -> bool:
    task = ref()
    return task is not None and task.has_pending_cancellation()
