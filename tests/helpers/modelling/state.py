"""Where a program stands, as the model sees it: tasks, the tree of scopes, groups, and what tasks wait for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

__all__ = [
    "CANCELLED",
    "READY",
    "Channel",
    "Lot",
    "Node",
    "Raised",
    "Result",
    "Rules",
    "State",
    "Strand",
    "Tasks",
    "without",
]


class Rules(Enum):
    KERNEL = "kernel"
    TRIO = "trio"
    """In two points: a task that finds itself cancelled gives way before it raises; and a cancel that comes while a
    task gives way, or after it has slept, may win."""


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
CANCELLABLE = ("sleep", "event", "hold", "send", "receive")


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
    :ivar wait: what it waits for; ``("ready", how)`` if it is to go on.
    :ivar starting: the caller of `Start` that waits for it.
    """

    node: str
    frames: tuple[tuple[Any, ...], ...]
    wait: tuple[Any, ...]
    log: tuple[str, ...] = ()
    starting: str | None = None
    group: str | None = None


class Lot(NamedTuple):
    """A lock or semaphore: who has it, and who waits, in order."""

    holders: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class Channel(NamedTuple):
    items: tuple[str, ...] = ()
    senders: tuple[tuple[str, str], ...] = ()
    receivers: tuple[str, ...] = ()


@dataclass
class State:
    now: float = 0.0
    tasks: dict[str, Strand] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    groups: dict[str, Tasks] = field(default_factory=dict)
    events: frozenset[str] = frozenset()
    lots: dict[str, Lot] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)

    def copy(self) -> State:
        return State(
            self.now,
            self.tasks.copy(),
            self.nodes.copy(),
            self.groups.copy(),
            self.events,
            self.lots.copy(),
            self.channels.copy(),
        )

    def key(self) -> object:
        """Equal for equal states. (Names are entered in many orders, so the items are sorted.)"""
        parts = (self.tasks, self.nodes, self.groups, self.lots, self.channels)
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

    def _leave_line(self, name: str, wait: tuple[Any, ...]) -> None:
        kind = wait[0]
        if kind == "hold":
            lot = self.lots[wait[1]]
            self.lots[wait[1]] = lot._replace(waiting=without(lot.waiting, name))
        elif kind == "send":
            channel = self.channels[wait[1]]
            senders = tuple(entry for entry in channel.senders if entry[0] != name)
            self.channels[wait[1]] = channel._replace(senders=senders)
        elif kind == "receive":
            channel = self.channels[wait[1]]
            self.channels[wait[1]] = channel._replace(receivers=without(channel.receivers, name))

    # Tasks

    def wake(self, name: str, how: str = "ok") -> None:
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


def _name(item: tuple[str, Any]) -> str:
    return item[0]


def without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)
