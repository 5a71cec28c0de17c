"""A Trio task as a `Task`. There is one kind: Trio does not care who started it, and nor do we."""

from __future__ import annotations

import sys
import weakref
from _thread import get_ident
from collections.abc import Callable, Generator
from functools import partial
from math import nan
from types import coroutine
from typing import TYPE_CHECKING, Any, Final

import trio
from outcome import Outcome, Value
from trio.lowlevel import (
    Abort,
    cancel_shielded_checkpoint,
    current_task,
    enable_ki_protection,
    reschedule,
    wait_task_rescheduled,
)

from bridgeio.contract import BUDGET, Scope, ScopeState, Task, TaskInfo

if TYPE_CHECKING:
    from bridgeio_trio.host import TrioHost

__all__ = ["SeenTask", "TrioTask"]

_WOKEN: Final[Outcome[Any]] = Value(None)
# What Trio's own `checkpoint_if_cancelled` looks at. A Trio without that is asked itself.
_RUNNER: Final = getattr(sys.modules.get("trio._core._run"), "Runner", None)
_SHOWS: Final = hasattr(_RUNNER, "ki_pending") and all(
    hasattr(trio.lowlevel.Task, name) for name in ("_cancel_status", "_runner", "_cancel_points")
)


class TrioTask(Task):
    """What bridgeio keeps for a Trio task while that lives.

    Its ``scope`` is one for all tasks: it says "cancelled" always, which makes the core call
    `checkpoint_if_cancelled`, and that asks Trio.

    :ivar native: ``None`` once the task has ended.
    """

    __slots__ = ("_run_thread", "_trap", "native")

    def __init__(self, host: TrioHost, native: trio.lowlevel.Task) -> None:
        super().__init__(host, native.name, _ASK_TRIO)
        self.coro = native.coro
        _ASK_TRIO.task = None  # it belongs to nobody
        self.native: trio.lowlevel.Task | None = native
        self._run_thread = get_ident()
        self._trap = _trap_for(self._on_cancel)

    @property
    def thread(self) -> int:
        """By the coroutine that Trio drives, and asked of it each time: a child has its parent's context, in guest
        mode a run is there between its turns, and somebody may have put another in its place. (Of all of a
        message's way on Trio, asking Trio itself was a twentieth.)"""
        try:
            return self._run_thread if self.native.coro.cr_running else 0  # type: ignore[union-attr]
        except AttributeError:  # the task has ended, or its coroutine is of another kind
            return self._thread_by_trio()

    def _thread_by_trio(self) -> int:
        try:
            return self._run_thread if current_task() is self.native else 0
        except RuntimeError:
            return 0

    # Protected, because a KeyboardInterrupt between the first line and the trap would leave a task
    # that wake() takes for parked; and waking a task that runs breaks Trio.
    @enable_ki_protection
    @coroutine
    def park(self, abort: Callable[[], bool]) -> Generator[Any, Outcome[Any], None]:
        """`wait_task_rescheduled` in one frame, with one trap and one outcome for all waits: made
        anew, they cost 1.4 of 13 microseconds for each message of an echo server."""
        self.abort = abort
        self.budget = BUDGET
        ended = yield self._trap
        if ended is not _WOKEN:
            try:
                ended.unwrap()
            finally:
                del ended  # it holds the exception, whose traceback holds this frame

    def wake(self) -> None:
        if self.abort is not None and self.native is not None:
            self.abort = None
            reschedule(self.native, _WOKEN)

    def interrupt(self) -> bool:
        """Only the core's own tree asks, and no task of Trio's stands in it."""
        return False

    async def give_way(self) -> None:
        self.budget = BUDGET
        await cancel_shielded_checkpoint()

    async def checkpoint_if_cancelled(self) -> None:
        """Trio's own, which need not look for the running task any more."""
        native = self.native
        if native is None or native._cancel_status.effectively_cancelled or native._runner.ki_pending:
            await trio.lowlevel.checkpoint_if_cancelled()  # which knows whose Ctrl-C is
        else:
            native._cancel_points += 1

    if not _SHOWS:
        checkpoint_if_cancelled = staticmethod(trio.lowlevel.checkpoint_if_cancelled)  # type: ignore[assignment]

    def info(self) -> TaskInfo:
        """By Trio's tree, the same for a task that has called bridgeio and for one that has not."""
        native = self.native
        if native is None:
            return super().info()
        nursery = native.parent_nursery
        parent_id = None if nursery is None else id(nursery.parent_task)
        return TaskInfo(id(native), parent_id, native.name, native.coro, partial(_is_cancelled, weakref.ref(native)))

    def has_pending_cancellation(self) -> bool:
        return self.native is not None and _is_cancelled(weakref.ref(self.native))

    def scope_states(self) -> list[ScopeState]:
        status = None if self.native is None else self.native._cancel_status
        states = []
        while status is not None:
            scope = status._scope
            states.append(ScopeState(scope._cancel_called, scope.shield, scope.deadline, None))
            status = status._parent
        return states

    def native_wait(self) -> str | None:
        """Trio says of no wait what it is for, but for the one at the end of a nursery."""
        if self.native is None:
            return None
        nurseries = self.native.child_nurseries
        if nurseries and _is_leaving_nursery(self.native.coro):
            children = sorted(child.name for child in nurseries[-1].child_tasks)
            return f"waiting for its children: {', '.join(children)}"
        return "in a wait of Trio's"

    def end(self) -> None:
        """The task is over. Undoes the circles through its context and its trap, lest every
        connection leave some work for the garbage collector."""
        self.native = self._trap = self.coro = None

    def _on_cancel(self, raise_cancel: object) -> Abort:
        """Nothing is kept if the wait goes on: Trio raises the cancellation at the next one."""
        abort = self.abort
        if abort is None or not abort():
            return Abort.FAILED
        self.abort = None
        return Abort.SUCCEEDED


def _trap_for(on_cancel: Callable[[object], Abort]) -> Any:
    """What `wait_task_rescheduled` yields to Trio: a message that only holds the abort function, and
    that Trio does not keep, so that it can be yielded again and again."""
    waiting = wait_task_rescheduled(on_cancel)  # noqa: ASYNC105 - only its first step is wanted
    try:
        return waiting.send(None)
    finally:
        waiting.close()


class SeenTask(TrioTask):
    """A task that has never called bridgeio, as somebody looked at it. Made in any thread, and not kept."""

    __slots__ = ()

    def __init__(self, host: TrioHost, native: trio.lowlevel.Task) -> None:
        Task.__init__(self, host, native.name, Scope())
        self.native = native
        self.coro = native.coro
        self.since = nan
        self._run_thread = host.thread
        self._trap = None


def _is_leaving_nursery(coro: Any) -> bool:
    while coro is not None:
        if getattr(coro, "__name__", "") == "_nested_child_finished":
            return True
        coro = getattr(coro, "cr_await", None)
    return False


def _is_cancelled(ref: weakref.ref[trio.lowlevel.Task]) -> bool:
    """Trio tells that of no task but the running one, so this has to look inside, as AnyIO does."""
    native = ref()
    return native is not None and bool(native._cancel_status.effectively_cancelled)


_ASK_TRIO = Scope()
_ASK_TRIO.cancelled = True
