"""A look at every step that tasks make: when they wait, when they are woken, when they give way.

All waiting in bridgeio goes through four methods of `bridgeio.contract.Task`, and a fifth tells of waits in a
framework's own awaitables. While somebody looks, those methods are replaced in the classes of the adapters
that are loaded, and put back after it: so a program that nobody looks at pays nothing, and a stranger's
adapter need not know of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bridgeio.contract import Observed, Task

__all__ = ["Abort", "Observer", "StepCounter", "observed"]

Abort = Callable[[], bool]


class Observer:
    """Who looks; by default sees everything and changes nothing.

    Each method is called with what the task was about to do, and has to do it: ``go_on`` is the
    adapter's own.
    """

    def park(self, task: Task, abort: Abort, go_on: Callable[[Task, Abort], Any]) -> Any:
        """The task itself calls this, in its own context."""
        return go_on(task, abort)

    def give_way(self, task: Task, go_on: Callable[[Task], Any]) -> Any:
        """The task itself calls this, in its own context."""
        return go_on(task)

    def enter_native_wait(self, task: Task, go_on: Callable[[Task], None]) -> None:
        """Whoever lets the task take its steps calls this, in any context; the task is about to wait."""
        go_on(task)

    def wake(self, task: Task, go_on: Callable[[Task], None]) -> None:
        """Whoever wakes the task calls this; also for a task that is not parked."""
        go_on(task)


class StepCounter(Observer):
    """How often tasks wait, give way, and are woken.

    :ivar steps: of all tasks of the process.
    """

    def __init__(self) -> None:
        self.steps = 0

    def park(self, task: Task, abort: Abort, go_on: Callable[[Task, Abort], Any]) -> Any:
        self.steps += 1
        return go_on(task, abort)

    def give_way(self, task: Task, go_on: Callable[[Task], Any]) -> Any:
        self.steps += 1
        return go_on(task)

    def wake(self, task: Task, go_on: Callable[[Task], None]) -> None:
        self.steps += 1
        go_on(task)


_looking: list[Observer] = []


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """A block in which the observer sees all tasks of the process.

    :raises RuntimeError: if somebody else looks: two would see each other's doings.
    """
    if _looking:
        raise RuntimeError("tasks are observed already: one sweep or count at a time in a process")
    _looking.append(observer)
    try:
        with ExitStack() as stack:
            for kind in _kinds(Observed):
                stack.enter_context(_replaced(kind, observer))
            yield
    finally:
        _looking.clear()


def _kinds(kind: type[Observed]) -> Iterator[type[Observed]]:
    yield kind
    for heir in kind.__subclasses__():
        yield from _kinds(heir)


@contextmanager
def _replaced(kind: type[Observed], observer: Observer) -> Iterator[None]:
    """A method that a class inherits is replaced where it is defined."""
    own = {name: kind.__dict__[name] for name in _SEEN if name in kind.__dict__}
    for name, method in own.items():
        setattr(kind, name, _SEEN[name](observer, method))
    try:
        yield
    finally:
        for name, method in own.items():
            setattr(kind, name, method)


def _seen_park(observer: Observer, own: Callable[[Task, Abort], Any]) -> Callable[[Task, Abort], Any]:
    def park(task: Task, abort: Abort) -> Any:
        return observer.park(task, abort, own)

    return park


def _seen_give_way(observer: Observer, own: Callable[[Task], Any]) -> Callable[[Task], Any]:
    def give_way(task: Task) -> Any:
        return observer.give_way(task, own)

    return give_way


def _seen_enter_native_wait(observer: Observer, own: Callable[[Task], None]) -> Callable[[Task], None]:
    def enter_native_wait(task: Task) -> None:
        observer.enter_native_wait(task, own)

    return enter_native_wait


def _seen_wake(observer: Observer, own: Callable[[Task], None]) -> Callable[[Task], None]:
    def wake(task: Task) -> None:
        observer.wake(task, own)

    return wake


_SEEN: dict[str, Callable[[Observer, Any], Any]] = {
    "park": _seen_park,
    "give_way": _seen_give_way,
    "enter_native_wait": _seen_enter_native_wait,
    "wake": _seen_wake,
    "wake_now": _seen_wake,
}
