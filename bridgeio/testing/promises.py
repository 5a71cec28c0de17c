"""What bridgeio promises about cancellation, and the mistakes of others that it does not repeat.

The conformance suite proves both. A test says what it stands for with ``@pytest.mark.bridgeio_promise(1)``
(the number of a `Promise`) or ``@pytest.mark.bridgeio_bug("shared-shield")`` (the name of a `Bug`);
`evidence` reads these marks, and so do the documentation and the tests of this house.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from bridgeio.testing import suite

__all__ = ["BUGS", "PROMISES", "Bug", "Evidence", "Promise", "evidence"]


@dataclass(frozen=True, slots=True)
class Promise:
    """One line of the promise.

    :ivar exceptions: backends that keep a part of it in their own way, each with what holds there.
    """

    number: int
    title: str
    text: str
    exceptions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Bug:
    """A mistake that a library of this kind has made."""

    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """A test that stands for promises or bugs.

    :ivar chapter: the module of the suite.
    :ivar sentence: the first paragraph of the test's docstring.
    :ivar needs: capabilities without which an adapter need not pass it.
    """

    chapter: str
    name: str
    sentence: str
    promises: tuple[int, ...]
    bugs: tuple[str, ...]
    needs: tuple[str, ...]


PROMISES = (
    Promise(
        1,
        "Scopes are a tree",
        "Every async function of bridgeio, called inside a cancelled scope, raises at once, before it takes anything, "
        "also where it need not wait, and every time it is tried, until the scope ends or a shield stands between.",
    ),
    Promise(
        2,
        "Each wait has an abort",
        "Cancelling a waiting task either takes its wait back, or the result was there first: then the result wins, "
        "and the cancellation comes at the next wait. Nothing that was handed over is lost.",
    ),
    Promise(
        3,
        "A foreign wait is cancelled once",
        "A task that waits in the framework's own awaitable gets the framework's own cancellation exactly once for a "
        "scope's cancel, and may clean up with awaits of its own. A second explicit cancel() delivers again.",
    ),
    Promise(
        4,
        "A native cancel passes through",
        "The framework's own way to cancel a task is never swallowed by a scope that did not cause it, and ends "
        "children before it goes on.",
    ),
    Promise(
        5,
        "Identity, not messages",
        "A scope knows its own cancellation by identity. Exception groups, except*, and code that turns a "
        "cancellation into another error do not confuse it.",
    ),
    Promise(
        6,
        "Children never outlive their group",
        "One failure cancels the rest, all failures come out in one ExceptionGroup, cancellations never do, and a "
        "group that is itself cancelled still waits for its children.",
    ),
    Promise(
        7,
        "start() owns its child until it has started",
        "Cancelling the caller cancels the child; a child that ends without started() is an error; the group's own "
        "cancel reaches the child once it has started.",
    ),
    Promise(
        8,
        "Deadlines are part of the tree",
        "One that has passed cancels at the first wait, an outer one counts inside inner scopes, moving one works "
        "while a task waits, and a shield hides the outer ones.",
    ),
    Promise(
        9,
        "A task always starts",
        "One that is cancelled before its first step runs up to its first wait, so that what was passed to it can be "
        "closed.",
    ),
    Promise(
        10,
        "A cancel reaches every wait, and no running code",
        "A task that is blocked in one of bridgeio's waits is woken, whatever it waits for; one that is busy in its "
        "own code is cancelled at its next wait.",
        (("threads", "a call that blocks in its own way counts as the task's own code"),),
    ),
)

BUGS = (
    Bug(
        "passed-deadline",
        "Entering a scope whose deadline had passed did not cancel; cancel() before entering was lost.",
    ),
    Bug("stale-state", "A task that had been cancelled earlier left state that leaked into a later scope."),
    Bug("abandoned-children", "A cancelled group abandoned its children."),
    Bug("cancelled-before-first-step", "An operation hung when its scope was cancelled before the function first ran."),
    Bug(
        "group-of-cancellations",
        "Host and children were only cancelled, yet an ExceptionGroup of cancellations came out.",
    ),
    Bug("lost-after-shield", "A parent's cancellation was not resumed after a shielded inner scope had been left."),
    Bug(
        "lost-grant",
        "A waiter for a lock was cancelled between its grant and its next step: a deadlock or a lost wake-up.",
    ),
    Bug("lost-result", "A task that was about to resume with a result was cancelled, and the result was lost."),
    Bug("lost-item", "An item handed to a receiver with a pending cancellation was dropped."),
    Bug("false-timeout", "fail_after raised TimeoutError although its scope had been cancelled by hand before."),
    Bug("shared-shield", "A shield around the host of a group shielded its children, too."),
    Bug(
        "swallowed-by-inner",
        "An inner scope swallowed the exception although an outer one had been cancelled meanwhile.",
    ),
    Bug("starvation", "Leaving a cancelled group without giving way let nobody else run."),
    Bug("swallowed-native-cancel", "A native cancel in the same turn as a scope's own was swallowed."),
    Bug("thread-races", "A thread's cancel raced with the start or the end of the task that it had called."),
    Bug("inconsistent-stream", "A cancelled read or write left a stream inconsistent, or leaked a connection."),
    Bug(
        "left-elsewhere",
        "A scope left in another task, or not in its order, gave an error that did not say what happened.",
    ),
)


def evidence() -> list[Evidence]:
    """Every test of the suite that stands for a promise or a bug, in the order of chapters and lines."""
    return [found for module in _chapters() for found in _evidence_in(module)]


def _chapters() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(suite.__path__):
        yield import_module(f"{suite.__name__}.{info.name}")


def _evidence_in(module: ModuleType) -> Iterator[Evidence]:
    for name, function in vars(module).items():
        if name.startswith("test_") and getattr(function, "__module__", None) == module.__name__:
            promises, bugs = _arguments(function, "bridgeio_promise"), _arguments(function, "bridgeio_bug")
            if promises or bugs:
                chapter = module.__name__.rpartition(".")[2]
                sentence = " ".join(str(function.__doc__ or "").partition("\n\n")[0].split())
                needs = _arguments(module, "bridgeio_needs") + _arguments(function, "bridgeio_needs")
                yield Evidence(chapter, name, sentence, promises, bugs, needs)


def _arguments(marked: Any, mark: str) -> tuple[Any, ...]:
    """All arguments of a mark, on a function or a module, in the order in which they stand."""
    marks = getattr(marked, "pytestmark", None) or ()
    found: list[Any] = []
    for one in marks if isinstance(marks, list | tuple) else (marks,):
        if one.name == mark:
            found[:0] = one.args  # the mark that stands nearest to the function comes first
    return tuple(found)
