"""The cancellation tree: which scopes are cancelled, and which tasks have to hear of it.

Rule 1: a scope is *cancelled* (effectively) if it was cancelled itself, or if its parent is and it is
no shield. The bit is kept up to date in every node, so that a task reads it and never searches.
Rule 2: whoever changes the tree calls `refresh`, which walks down without recursion, first sets
every bit and then tells the tasks: nobody sees half a change.
Rule 3: a task hears of a cancel once. Parked in one of our waits, it is woken; in a wait of the
host's, that wait is ended (the *edge*); otherwise it reads the bit at its next wait. Nothing polls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Cancellable", "Scope", "cancel", "move", "redeliver", "refresh", "why"]


class Cancellable(Protocol):
    """What the tree has to know of a task."""

    scope: Scope
    abort: Callable[[], bool] | None

    def wake_cancelled(self) -> None: ...
    def interrupt(self) -> bool: ...


class Scope:
    """A node of the tree. Each task has one at its root, and one for each scope it has entered.

    :ivar cancelled: rule 1's bit.
    :ivar edge: whether the task has heard of it (rule 3).
    :ivar reason: why it was cancelled, for those who debug.
    """

    __slots__ = ("__weakref__", "called", "cancelled", "children", "edge", "parent", "reason", "shielded", "task")

    def __init__(self, parent: Scope | None = None) -> None:
        self.task: Cancellable | None = None
        self.parent: Scope | None = None
        self.children: set[Scope] | None = None  # most never have any
        self.shielded = False
        self.called = False
        self.cancelled = False
        self.edge = False
        self.reason: str | None = None
        if parent is not None:
            self.link(parent)

    def link(self, parent: Scope) -> None:
        self.parent = parent
        children = parent.children
        if children is None:
            parent.children = {self}
        else:
            children.add(self)
        self.cancelled = self.called or (parent.cancelled and not self.shielded)

    def unlink(self) -> None:
        parent = self.parent
        if parent is not None and parent.children is not None:
            parent.children.discard(self)
            self.parent = None


def cancel(top: Scope) -> None:
    """Cancels a node; a second time tells its tasks once more."""
    if top.called:
        redeliver(top)
    else:
        top.called = True
        refresh(top)


def why(scope: Scope) -> tuple[str, ...]:
    """The reason of the cancel that reaches this scope from nearest, as an exception's arguments."""
    node: Scope | None = scope
    while node is not None and not node.called:
        node = None if node.shielded else node.parent
    return () if node is None or node.reason is None else (node.reason,)


def refresh(top: Scope) -> None:
    """Brings the bits of ``top`` and of all below it up to date, then tells the tasks concerned."""
    concerned: list[Cancellable] = []
    nodes = [top]
    while nodes:
        node = nodes.pop()
        parent = node.parent
        cancelled = node.called or (parent is not None and parent.cancelled and not node.shielded)
        if cancelled == node.cancelled:
            continue
        node.cancelled = cancelled
        node.edge = False
        if cancelled and node.task is not None and node.task.scope is node:
            concerned.append(node.task)
        nodes.extend(node.children or ())
    for task in concerned:
        _tell(task)


def move(root: Scope, parent: Scope) -> None:
    """Hangs a node, and all below it, elsewhere in the tree; what changes for its tasks, they hear."""
    was = root.cancelled
    root.unlink()
    root.link(parent)
    root.cancelled = was  # for `refresh` to see what changes
    refresh(root)


def redeliver(top: Scope) -> None:
    """Tells every task below a cancelled scope once more, for an explicit second ``cancel()``."""
    concerned: list[Cancellable] = []
    nodes = [top]
    while nodes:
        node = nodes.pop()
        node.edge = False
        if node.task is not None and node.task.scope is node:
            concerned.append(node.task)
        nodes.extend(child for child in node.children or () if child.cancelled)
    for task in concerned:
        _tell(task)


def _tell(task: Cancellable) -> None:
    abort = task.abort
    if abort is None:
        if not task.scope.edge and task.interrupt():
            task.scope.edge = True
    elif abort():
        task.wake_cancelled()
