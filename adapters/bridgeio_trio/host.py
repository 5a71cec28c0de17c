"""A run of Trio as a `Host`."""

from __future__ import annotations

import logging
from _thread import get_ident
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from math import inf
from typing import Any, TypeVar

import trio
from trio import CancelScope
from trio.lowlevel import spawn_system_task, wait_readable, wait_writable

from bridgeio.contract import CURRENT, Due, Handle, Host, NativeScope, Scope, Task
from bridgeio_trio.generators import Generators
from bridgeio_trio.scopes import ASKS_WHY, ScopeOfOldTrio, TrioGroup, has_deadline, show_deadline
from bridgeio_trio.task import SeenTask, TrioTask

__all__ = ["TrioHost", "current_host"]

T = TypeVar("T")

logger = logging.getLogger("bridgeio.trio")


class TrioHost(Host):
    """Lives as long as the run: a system task of its own, which Trio cancels at the end, closes it.

    :ivar leaving: the error by which a callback ended the run.
    """

    backend = "trio"
    cancelled_class = trio.Cancelled
    native_scopes = True
    machinery = ("trio._core",)

    def __init__(self) -> None:
        self._clock = trio.lowlevel.current_clock()  # trio.current_time() is for the run's thread only
        self._call_soon = trio.lowlevel.current_trio_token().run_sync_soon
        self._records: dict[trio.lowlevel.Task, TrioTask] = {}
        self._alarms: set[_Alarm] = set()
        self._until_alarm = trio.CancelScope()
        self._open = True
        self._main_scope: trio.CancelScope | None = None
        self.leaving: BaseException | None = None
        self._init = trio.lowlevel.current_root_task()
        super().__init__(get_ident())
        self.clock = self._clock.current_time
        self.show_deadline = show_deadline
        trio.lowlevel.add_instrument(_Exits(self._records))
        try:
            spawn_system_task(self._keep_alarms, name="bridgeio timers")
        except RuntimeError:  # at its end Trio closes generators, in a scope where nothing can wait any more
            self._open = False

    def now(self) -> float:
        """By the run's clock, which may be a mock."""
        return self._clock.current_time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        if not self._open:
            raise RuntimeError("the Trio run is over: there are no timers any more")
        alarm = _Alarm(self._alarms, when, callback)
        self._alarms.add(alarm)
        if when < self._until_alarm.deadline:
            self._until_alarm.deadline = when
        return alarm

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object:
        return self._call_soon(self._call, callback)

    def admits(self, thread: int) -> bool:
        return thread == self.thread

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        return _Watch(self._call, fd, on_readable, on_writable)

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> TrioTask:
        """Hangs a system task into the core's tree. (Groups do not come here: they are nurseries.)"""
        around = trio.CancelScope()
        root = scope.task = _Root(scope, around)
        if scope.cancelled:
            root.interrupt()
        native = spawn_system_task(self._carry, coro, around, name=name, context=copy_context())
        return self._record(native)

    def open_scope(self, deadline: float, shield: bool) -> NativeScope:
        native: Any = CancelScope(deadline=deadline, shield=shield)
        return native if ASKS_WHY else ScopeOfOldTrio(native)

    def open_group(self) -> TrioGroup:
        return TrioGroup()

    @trio.lowlevel.enable_ki_protection  # half-way through, the deadline would stand on nobody's list
    def put_off(self, due: Due, scope: NativeScope) -> bool:
        if not (show_deadline is not None and self._open and has_deadline(scope)):
            return False
        self.timers.enter(due)
        scope.deadline = inf
        show_deadline(scope, due.when)
        return True

    def effective_deadline(self) -> float:
        return trio.current_effective_deadline()

    def cancellation_in_thread(self) -> BaseException:
        """Only Trio makes such an exception: a run of Trio's in this thread, for a moment."""
        return trio.run(_be_cancelled)

    def census(self) -> list[Task]:
        """By Trio's own tree, in which most tasks have never called bridgeio, without Trio's and our own
        that serve the run."""
        found: list[Task] = []
        tasks = [self._init] if self._init is not None else []
        while tasks:
            native = tasks.pop()
            if not _serves_the_run(native):
                found.append(self._records.get(native) or SeenTask(self, native))
            tasks += [child for nursery in native.child_nurseries for child in nursery.child_tasks]
        return found

    def adopt(self, native: trio.lowlevel.Task) -> TrioTask:
        """The record of the running task; the same one as long as the task lives."""
        known = self._record(native)
        CURRENT.set(known)
        return known

    def close(self) -> None:
        self._open = False
        self._init = None
        for due in self.timers.close():
            if isinstance(due, Scope):  # Trio sees to its deadline again, for as long as cleanup takes
                due.ring()
        super().close()

    def _record(self, native: trio.lowlevel.Task) -> TrioTask:
        known = self._records.get(native)
        if known is None:
            known = self._records[native] = TrioTask(self, native)
        return known

    async def _carry(self, coro: Coroutine[Any, Any, object], around: trio.CancelScope) -> None:
        self.adopt(trio.lowlevel.current_task())
        with around:
            await coro

    async def _keep_alarms(self) -> None:
        try:
            while True:
                earliest = min((alarm.when for alarm in self._alarms), default=inf)
                with trio.CancelScope(deadline=earliest) as self._until_alarm:
                    await trio.sleep_forever()
                self._ring()
        finally:
            self.close()

    def _ring(self) -> None:
        now = self.now()
        for alarm in [alarm for alarm in self._alarms if alarm.when <= now]:
            if alarm in self._alarms:  # no other has cancelled it meanwhile
                alarm.cancel()
                self._call(alarm.callback)

    def _call(self, callback: Callable[[], object]) -> None:
        """An error in a callback is one callback's error. Out of a system task it would end the run, and with it,
        among others, the task that keeps our timers, for which cleanup may wait. What is meant to end the
        program ends the main task instead, if the run is ours."""
        try:
            callback()
        except Exception:
            logger.exception("a callback failed: %r", callback)
        except BaseException as error:
            self._leave(error)

    def _leave(self, error: BaseException) -> None:
        if self._main_scope is None:
            raise error
        self.leaving = self.leaving or error
        self._main_scope.cancel()

    async def carry_main(self, main: Callable[[], Awaitable[T]]) -> T:
        """The main task of a run of ours, which a KeyboardInterrupt or a SystemExit in a callback ends."""
        self._main_scope = around = trio.CancelScope()
        with around:
            try:
                async with Generators(self._call_soon, self._leave):
                    return await main()
            finally:
                self._main_scope = None
                if self.leaving is not None:
                    raise self.leaving
        raise AssertionError("nobody else knows this scope")


async def _be_cancelled() -> trio.Cancelled:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            return error.with_traceback(None)
    raise AssertionError("a checkpoint in a cancelled scope is cancelled")


def _serves_the_run(native: trio.lowlevel.Task) -> bool:
    frame = getattr(native.coro, "cr_frame", None)
    if frame is None:
        return False
    module = str(frame.f_globals.get("__name__"))
    return module.startswith("trio._core.") or (module == __name__ and frame.f_code.co_name.startswith("_keep"))


class _Exits(trio.abc.Instrument):
    """Hears that a task has ended, and has its record forgotten. Trio asks an instrument for all its attributes, and
    a host that was one would be slower to read ever after: its dictionary was made."""

    def __init__(self, records: dict[trio.lowlevel.Task, TrioTask]) -> None:
        self._records = records

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        record = self._records.pop(task, None)
        if record is not None:
            record.end()


class _Alarm:
    """A callback of `TrioHost.call_at`. The core asks for one at a time, so a set will do."""

    __slots__ = ("_alarms", "callback", "when")

    def __init__(self, alarms: set[_Alarm], when: float, callback: Callable[[], None]) -> None:
        self._alarms = alarms
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        self._alarms.discard(self)


class _Watch:
    """A system task for each direction that is watched."""

    def __init__(
        self,
        call: Callable[[Callable[[], object]], None],
        fd: int,
        on_readable: Callable[[], object] | None,
        on_writable: Callable[[], object] | None,
    ) -> None:
        self._call = call
        self._ended = False
        self._scopes: list[trio.CancelScope] = []
        if on_readable is not None:
            self._start(wait_readable, fd, on_readable)
        if on_writable is not None:
            self._start(wait_writable, fd, on_writable)

    def cancel(self) -> None:
        """Ends Trio's interest in the descriptor before it returns, so that it may be closed."""
        self._ended = True
        for scope in self._scopes:
            scope.cancel()

    def _start(self, wait: Callable[[int], Awaitable[None]], fd: int, callback: Callable[[], object]) -> None:
        scope = trio.CancelScope()
        self._scopes.append(scope)
        spawn_system_task(self._keep_calling, scope, wait, fd, callback, name=f"bridgeio watch on {fd}")

    async def _keep_calling(
        self, scope: trio.CancelScope, wait: Callable[[int], Awaitable[None]], fd: int, callback: Callable[[], object]
    ) -> None:
        """Looks after each step whether it was cancelled: by then the descriptor may be another's."""
        with scope:
            while not self._ended:
                await wait(fd)
                if not self._ended:
                    self._call(callback)


class _Root:
    """The root of a spawned task in the core's tree: passes what it hears on to a scope of Trio's."""

    abort: Callable[[], bool] | None = None

    def __init__(self, scope: Scope, around: trio.CancelScope) -> None:
        self.scope = scope
        self._around = around

    def interrupt(self) -> bool:
        self._around.cancel()
        return True

    def wake_cancelled(self) -> None:
        self.interrupt()


def current_host() -> TrioHost:
    """The host of the running run, made at its first use."""
    host = _HOST.get(None)
    if host is None:
        host = TrioHost()
        _HOST.set(host)
    return host


_HOST: trio.lowlevel.RunVar[TrioHost | None] = trio.lowlevel.RunVar("bridgeio_host")
