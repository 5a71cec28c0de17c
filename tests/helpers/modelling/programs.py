"""The language of the model test: small programs, as values whose ``repr`` can be pasted into a test.

Rule 1: every name (of a scope, a group, a task) is given once; a scope or group is entered once.
Rule 2: times are whole or half numbers, counted from the program's start: sums of them are exact.
Rule 3: a shield always has a deadline, so that every program ends. For the same reason no group is opened by
who holds a condition: a child could want it back while its holder waits for the child's end.
Rule 4: only who holds a condition waits for its notice, or gives one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

__all__ = [
    "END",
    "Body",
    "Cancel",
    "CatchFailures",
    "Checkpoint",
    "Fail",
    "Get",
    "Group",
    "GuardCancel",
    "Hold",
    "JoinQueue",
    "Meet",
    "MoveDeadline",
    "Notify",
    "Op",
    "Program",
    "Put",
    "Receive",
    "Send",
    "SetEvent",
    "SetShield",
    "ShutDown",
    "Sleep",
    "Spawn",
    "Start",
    "Started",
    "TaskDone",
    "WaitEvent",
    "WaitNotice",
    "Within",
    "every_op",
]

END = 40.0  # a scope around the whole program has this deadline


class Op:
    """One step."""


Body = tuple[Op, ...]


@dataclass(frozen=True)
class Sleep(Op):
    seconds: float


@dataclass(frozen=True)
class Checkpoint(Op):
    pass


@dataclass(frozen=True)
class SetEvent(Op):
    event: str


@dataclass(frozen=True)
class WaitEvent(Op):
    event: str


@dataclass(frozen=True)
class Cancel(Op):
    """Cancels a scope or a group, at whatever stage that is."""

    scope: str


@dataclass(frozen=True)
class MoveDeadline(Op):
    scope: str
    to: float


@dataclass(frozen=True)
class SetShield(Op):
    scope: str
    value: bool


@dataclass(frozen=True)
class Fail(Op):
    """Raises a error of that name."""

    name: str


@dataclass(frozen=True)
class Within(Op):
    """``with CancelScope(deadline=, shield=)``; with ``fails`` one that raises `TimeoutError`."""

    scope: str
    body: Body
    deadline: float = float("inf")
    shield: bool = False
    fails: bool = False


@dataclass(frozen=True)
class Group(Op):
    group: str
    body: Body


@dataclass(frozen=True)
class Spawn(Op):
    """``group.start_soon``."""

    group: str
    task: str
    body: Body


@dataclass(frozen=True)
class Start(Op):
    """``await group.start``."""

    group: str
    task: str
    body: Body


@dataclass(frozen=True)
class Started(Op):
    """``task_status.started()``, if the task was started with `Start` and has not said so before."""


@dataclass(frozen=True)
class GuardCancel(Op):
    """``try: body except Cancelled: cleanup``, then ``raise`` unless it is swallowed."""

    body: Body
    cleanup: Body
    swallows: bool = False


@dataclass(frozen=True)
class CatchFailures(Op):
    """``try: body except an error of `Fail`:``, also those in a group."""

    body: Body


@dataclass(frozen=True)
class Hold(Op):
    """``async with`` a lock ("l1"), a semaphore of two ("s1"), a limiter of one ("n1"), or a condition ("c1")."""

    lock: str
    body: Body


@dataclass(frozen=True)
class WaitNotice(Op):
    """``await condition.wait()``."""

    condition: str


@dataclass(frozen=True)
class Notify(Op):
    """``condition.notify(count)``, or ``notify_all()`` without one."""

    condition: str
    count: int | None = 1


@dataclass(frozen=True)
class Meet(Op):
    """``await barrier.wait()``, at a barrier for two."""

    barrier: str


@dataclass(frozen=True)
class Send(Op):
    """Sends an item through a channel with room for one."""

    channel: str
    item: str


@dataclass(frozen=True)
class Receive(Op):
    channel: str


@dataclass(frozen=True)
class Put(Op):
    """Puts an item into a queue, whose ``maxsize`` is the number in its name."""

    queue: str
    item: str


@dataclass(frozen=True)
class Get(Op):
    queue: str


@dataclass(frozen=True)
class TaskDone(Op):
    """``queue.task_done()``; once too often it is told, and no failure."""

    queue: str


@dataclass(frozen=True)
class JoinQueue(Op):
    """``await queue.join()``."""

    queue: str


@dataclass(frozen=True)
class ShutDown(Op):
    """Ends a queue: from then on `Put` and `Get` fail with ``QueueShutDown``."""

    queue: str
    immediate: bool = False


@dataclass(frozen=True)
class Program:
    body: Body


def every_op(body: Body) -> Iterator[Op]:
    """The steps of a body and of all bodies inside, outer ones first."""
    for op in body:
        yield op
        for field in fields(op):  # type: ignore[arg-type] # every step is a dataclass
            inner: Any = getattr(op, field.name)
            if isinstance(inner, tuple):
                yield from every_op(inner)
