"""The tasks of every run in this process as text, for those who look at a program that hangs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from time import monotonic
from types import CoroutineType
from typing import Any, TextIO

from bridgeio.contract import Host, ScopeState, Task, never
from bridgeio.stacks import Frames, awaited_frames, format_frames, frames_up_to, is_from
from bridgeio.tasks import hosts
from bridgeio.waiters import Waiter

__all__ = ["doing", "dump_tasks", "stack_of"]

_LONGEST = 240  # characters about what a task does: it may have ten thousand children


def dump_tasks(file: TextIO | None = None) -> str:
    """The tree of tasks of every run and loop in this process that bridgeio is in, as text for people.

    Of each task: its name, its age in seconds, what it does or waits for, the scope that has cancelled it or
    will, and its stack without bridgeio's own frames. Which tasks are known, `get_running_tasks` tells.

    May be called anywhere and at any moment: in a task, in another thread, in a signal handler, in a
    debugger. It takes no lock and waits for nothing; of tasks that go on in other threads meanwhile it may
    show the one line of before and the other of after. The format is not promised.

    :param file: where to print it, too.
    """
    text = "\n".join(_all_lines()) + "\n"
    if file is not None:
        file.write(text)
        file.flush()
    return text


def doing(task: Task) -> str:
    """What a task does, in words."""
    abort = task.abort
    if task.running_in():
        said = "running"
    elif abort is not None:
        said = _waiting(abort)
    elif _not_begun(task.coro):
        said = "not begun"
    else:
        said = task.native_wait() or "about to run"
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."


def _not_begun(coro: Any) -> bool:
    """`inspect.getcoroutinestate`, which is not worth loading a module of that size."""
    if not isinstance(coro, CoroutineType):
        return False
    return coro.cr_frame is not None and not coro.cr_running and not coro.cr_suspended


def stack_of(task: Task) -> list[str]:
    """Where a task is, from its outermost frame to the innermost, without those of bridgeio and its adapter."""
    innermost = task.innermost_frame()
    frames = awaited_frames(task.coro) if innermost is None else frames_up_to(innermost, task.coro)
    adapter = [type(known).__module__.partition(".")[0] for known in (task, task.host)]
    if task.abort is not None:
        frames = _outside_park(frames, adapter)
    machinery = ["bridgeio", *adapter, *task.host.machinery]
    return format_frames([pair for pair in frames if not is_from(pair[0], machinery)])


def _outside_park(frames: Frames, adapter: list[str]) -> Frames:
    """Whatever a parked task has on its stack below its adapter belongs to the waiting."""
    inside = next((depth for depth, (frame, _) in enumerate(frames) if is_from(frame, adapter)), None)
    return frames[:inside]


def _waiting(abort: Callable[[], bool]) -> str:
    if isinstance(abort, Waiter):
        return f"waiting for {abort.line.what}"
    if abort is never:
        return "waiting for the other tasks to end"
    describe = getattr(getattr(abort, "__self__", abort), "doing", None)
    return str(describe(abort)) if callable(describe) else f"waiting (its abort is {abort!r})"


def _all_lines() -> Iterator[str]:
    quiet = True
    for host in hosts():
        tasks = host.census()
        if tasks:
            quiet = False
            yield f"{host.backend}: {len(tasks)} task{'s' if len(tasks) > 1 else ''}"
            yield from _tree(host, tasks)
    if quiet:
        yield "bridgeio has no task in this process"


def _tree(host: Host, tasks: list[Task]) -> Iterator[str]:
    """Without recursion: families may be deep."""
    ids = {task.info().id: task for task in tasks}
    below: dict[int | None, list[Task]] = {}
    for task in sorted(tasks, key=_birthday, reverse=True):
        parent_id = task.info().parent_id
        below.setdefault(parent_id if parent_id in ids else None, []).append(task)
    pending = [(task, 1) for task in below.pop(None, [])]
    while pending:
        task, depth = pending.pop()
        yield from _described(host, task, "  " * depth)
        pending += [(child, depth + 1) for child in below.pop(task.info().id, [])]


def _birthday(task: Task) -> float:
    return task.since if task.since == task.since else -inf


def _described(host: Host, task: Task, indent: str) -> Iterator[str]:
    """Whatever goes wrong with one task, which may be ending in another thread, must not hide the rest."""
    try:
        yield f"{indent}{task.name}: {', '.join(_facts(host, task))}"
        for line in stack_of(task):
            yield f"{indent}    {line}"
    except Exception as error:
        yield f"{indent}{task.name}: changed while it was looked at ({error!r})"


def _facts(host: Host, task: Task) -> Iterator[str]:
    if task.since == task.since:
        yield f"{monotonic() - task.since:.1f} s old"
    yield doing(task)
    yield from _cancellation(task, task.scope_states(), host.now())


def _cancellation(task: Task, states: list[ScopeState], now: float) -> Iterator[str]:
    """By the innermost scope that is cancelled; else the deadline that comes first."""
    shielded = False
    deadline = inf
    for state in states:
        if state.called:
            yield _cancelled(task, state, now, shielded)
            return
        if not shielded:
            deadline = min(deadline, state.deadline)
        shielded = shielded or state.shielded
    if deadline != inf:
        yield f"to be cancelled at {deadline - now:+.1f} s"


def _cancelled(task: Task, state: ScopeState, now: float, shielded: bool) -> str:
    owner = "" if state.owner is None else " of its own" if state.owner is task else f" of {state.owner.name}"
    late = ", whose deadline has passed" if state.deadline <= now else ""
    return f"{'shielded from being cancelled' if shielded else 'cancelled'} by a scope{owner}{late}"
