"""Where a program stands, as the model sees it: tasks, the tree of scopes, groups, and what tasks wait for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

__all__ = [
    "CANCELLED",
    "READY",
    "Entry",
    "Node",
    "Raised",
    "Result",
    "Rules",
    "State",
    "Store",
    "Strand",
    "Tasks",
]


class Rules(Enum):
    KERNEL = "kernel"
    TRIO = "trio"
    """In two points: a task that finds itself cancelled gives way before it raises; and a cancel that comes while a
    task gives way, or after it has slept, may win."""
    PLAIN_TRIO = "plain trio"
    """And in a third, without bridgeio: who is notified by a condition stands in the line of its lock there and then,
    and a cancel still wins as long as he has not got it."""


class Raised(NamedTuple):
    """What is on its way up a task's frames: a cancellation if there are no failures.

    :ivar failures: names, sorted; a group of failures is flattened.
    """

    failures: tuple[str, ...] = ()

    @property
    def is_cancelled(self) -> bool:
        return not self.failures

    def __str__(self) -> str:
        return "cancelled" if self.is_cancelled else "failed with " + " ".join(self.failures)


CANCELLED = Raised()
Result = Raised | None

READY = "ready"
CANCELLABLE = ("sleep", "event", "hold", "give", "take", "end of tasks", "notice", "meeting")


class Node(NamedTuple):
    """A scope of the tree: one of the program's, a group's, or the root of a task.

    :ivar stage: ``new``, ``open`` or ``left``.
    """

    parent: str | None = None
    called: bool = False
    by_hand: bool = False
    shield: bool = False
    deadline: float = float("inf")
    stage: str = "new"


class Tasks(NamedTuple):
    """A group: what became of its children.

    :ivar cancelled: a child, or the block, ended by a cancellation.
    """

    children: frozenset[str] = frozenset()
    failures: tuple[str, ...] = ()
    cancelled: bool = False


class Strand(NamedTuple):
    """A task.

    :ivar frames: what it is inside of, the innermost last.
    :ivar wait: what it waits for; ``("ready", how)`` if it is to go on, with an error if that is how.
    :ivar starting: the caller of `Start` that waits for it.
    """

    node: str
    frames: tuple[tuple[Any, ...], ...]
    wait: tuple[Any, ...]
    log: tuple[str, ...] = ()
    starting: str | None = None
    group: str | None = None


class Entry(NamedTuple):
    """One in a line.

    :ivar item: what it would give.
    """

    task: str
    item: str = ""


class Store(NamedTuple):
    """A channel or a queue.

    :ivar accepted: how many items have come in.
    :ivar finished: how many of them are done.
    """

    items: tuple[str, ...] = ()
    accepted: int = 0
    finished: int = 0
    shut_down: bool = False


@dataclass
class State:
    """:ivar lines: who waits, in order, by the kind of wait and what they wait for. None is empty.
        Who is not to be cancelled in it waits with ``("stays", kind, what)``.
    :ivar holders: of each lock, those who have it.
    """

    now: float = 0.0
    tasks: dict[str, Strand] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    groups: dict[str, Tasks] = field(default_factory=dict)
    events: frozenset[str] = frozenset()
    holders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    stores: dict[str, Store] = field(default_factory=dict)
    lines: dict[tuple[str, str], tuple[Entry, ...]] = field(default_factory=dict)

    def copy(self) -> State:
        return State(
            self.now,
            self.tasks.copy(),
            self.nodes.copy(),
            self.groups.copy(),
            self.events,
            self.holders.copy(),
            self.stores.copy(),
            self.lines.copy(),
        )

    def key(self) -> object:
        """Equal for equal states. (Names are entered in many orders, so the items are sorted.)"""
        parts = (self.tasks, self.nodes, self.groups, self.holders, self.stores, self.lines)
        return (self.now, self.events, *(tuple(sorted(part.items(), key=_name)) for part in parts))

    # The tree

    def cancelled(self, name: str | None) -> bool:
        while name is not None:
            node = self.nodes[name]
            if node.called:
                return True
            name = None if node.shield else node.parent
        return False

    def call(self, name: str, by_hand: bool) -> None:
        node = self.nodes[name]
        if not node.called:
            self.nodes[name] = node._replace(called=True, by_hand=by_hand)
        self.deliver()

    def deliver(self) -> None:
        """Rule 2."""
        for name, task in self.tasks.items():
            if task.wait[0] in CANCELLABLE and self.cancelled(task.node):
                self._leave_line(name, task.wait)
                self.tasks[name] = task._replace(wait=(READY, "cancelled"))

    # Lines

    def stand(self, name: str, kind: str, what: str, item: str = "", stays: bool = False) -> None:
        """The task waits, and is the last."""
        self.lines[kind, what] = (*self.lines.get((kind, what), ()), Entry(name, item))
        self.wait(name, *(["stays"] if stays else []), kind, what)

    def first(self, kind: str, what: str) -> Entry | None:
        """Takes out who has waited longest. He is to be woken at once."""
        line = self.lines.get((kind, what))
        if line is None:
            return None
        self._set_line((kind, what), line[1:])
        return line[0]

    def wake_all(self, kind: str, what: str, how: str | Raised = "ok") -> None:
        while (entry := self.first(kind, what)) is not None:
            self.wake(entry.task, how)

    def _leave_line(self, name: str, wait: tuple[Any, ...]) -> None:
        line = self.lines.get(wait)
        if line is not None:
            self._set_line(wait, tuple(entry for entry in line if entry.task != name))

    def _set_line(self, line: tuple[str, str], entries: tuple[Entry, ...]) -> None:
        if entries:
            self.lines[line] = entries
        else:
            del self.lines[line]

    # Tasks

    def wake(self, name: str, how: str | Raised = "ok") -> None:
        self.tasks[name] = self.tasks[name]._replace(wait=(READY, how))

    def wait(self, name: str, *what: Any) -> None:
        self.tasks[name] = self.tasks[name]._replace(wait=what)

    def log(self, name: str, what: str) -> None:
        task = self.tasks[name]
        self.tasks[name] = task._replace(log=(*task.log, f"{self.now:g}: {what}"))

    def push(self, name: str, *frame: Any) -> None:
        task = self.tasks[name]
        self.tasks[name] = task._replace(frames=(*task.frames, frame))

    def ready(self) -> list[str]:
        return [name for name, task in self.tasks.items() if task.wait[0] == READY]


def _name(item: tuple[Any, Any]) -> Any:
    return item[0]
