"""A curio kernel as a `Host`.

Rule 1: only a task can ask the kernel for anything. What synchronous code wants is noted by
`CurioHost.request`, and whoever is in charge (`CurioHost.attended`) carries it out before it suspends.
Rule 2: nobody is in charge in a task that curio started by itself. Then the attendant is prodded.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import get_ident
from time import monotonic
from typing import Any

import curio
from curio.sched import SchedBarrier
from curio.traps import _future_wait, _get_kernel, _read_wait, _write_wait

from bridgeio.contract import Handle, Host, Scope
from bridgeio_curio.task import CurioTask, drive

__all__ = ["CurioHost", "current_host"]

_ATTRIBUTE = "_bridgeio_host"

logger = logging.getLogger("bridgeio.curio")


class CurioHost(Host):
    """Lives as long as its kernel: closed by its attendant, which the kernel cancels at its end.

    :ivar attended: see rule 1.
    :ivar requests: what is to be awaited by whoever is in charge.
    """

    backend = "curio"
    cancelled_class = curio.CancelledError

    def __init__(self) -> None:
        self.attended = False
        self.requests: deque[Callable[[], Awaitable[object]]] = deque()
        self._calls: deque[Callable[[], object]] = deque()
        self._prodded: Future[None] = Future()
        self._alarms: set[_Alarm] = set()
        self._alarms_changed = SchedBarrier()
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._open = True
        self._thread = get_ident()
        super().__init__()

    def admits(self, thread: int) -> bool:
        return thread == self._thread

    async def start(self) -> None:
        """curio takes its hooks for asynchronous generators back by itself when the kernel leaves."""
        sys.set_asyncgen_hooks(self._generators.add, self._generator_dropped)
        await curio.spawn(self._attend_calls, daemon=True)
        await curio.spawn(self._attend_alarms, daemon=True)

    def now(self) -> float:
        return monotonic()  # the kernel's own clock, which it tells to tasks alone

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        alarm = _Alarm(self._alarms, when, callback)
        self._alarms.add(alarm)
        self.request(self._alarms_changed.wake)
        return alarm

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object:
        if not self._open:
            raise RuntimeError("the curio kernel has ended")
        self._calls.append(callback)
        self._prod()
        return None

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        watch = _Watch(self)
        if on_readable is not None:
            self.request(partial(curio.spawn, watch.keep_calling, _read_wait, fd, on_readable, daemon=True))
        if on_writable is not None:
            self.request(partial(curio.spawn, watch.keep_calling, _write_wait, fd, on_writable, daemon=True))
        return watch

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> CurioTask:
        """To curio the task is a daemon: nobody joins it, because the core's groups wait by themselves."""
        task = CurioTask(self, name, scope)
        self.request(partial(curio.spawn, drive(task, coro, copy_context()), daemon=True))
        return task

    def request(self, function: Callable[[], Awaitable[object]]) -> None:
        """Has the function called, and awaited, by a task in this turn or at the latest the next."""
        self.requests.append(function)
        if not self.attended:
            self._prod()

    async def carry_out(self) -> None:
        """Hands all that was requested to the kernel. None of it suspends the caller."""
        while self.requests:
            await self.requests.popleft()()
        self.attended = False

    async def call(self, callback: Callable[[], object]) -> None:
        """Calls back, and is in charge meanwhile. An error is one callback's error."""
        self.attended = True
        try:
            callback()
        except Exception:
            logger.exception("a callback failed: %r", callback)
        await self.carry_out()

    async def finish_generators(self) -> None:
        """Closes the asynchronous generators that are still suspended at the end of a run."""
        for generator in list(self._generators):
            with suppress(RuntimeError):  # it is running: somebody else's to finish
                await generator.aclose()

    def close(self) -> None:
        self._open = False
        super().close()

    def _prod(self) -> None:
        with suppress(InvalidStateError):  # it has been, and has not come to look yet
            self._prodded.set_result(None)

    async def _attend_calls(self) -> None:
        """The attendant. A new Future comes before the look at the calls, so none is overlooked."""
        try:
            while True:
                await _future_wait(self._prodded)
                self._prodded = Future()
                for _ in range(len(self._calls)):
                    await self.call(self._calls.popleft())
                await self.carry_out()
        finally:
            self.close()

    async def _attend_alarms(self) -> None:
        while True:
            await self._until_next_alarm()
            now = self.now()
            for alarm in [alarm for alarm in self._alarms if alarm.when <= now]:
                if alarm in self._alarms:  # no other has cancelled it meanwhile
                    alarm.cancel()
                    await self.call(alarm.callback)

    async def _until_next_alarm(self) -> None:
        """``ignore_after(None)`` would do for no alarm at all, but fails in curio 1.6 when it is cancelled."""
        if not self._alarms:
            await self._alarms_changed.suspend("BRIDGEIO_TIMERS")
            return
        delay = min(alarm.when for alarm in self._alarms) - self.now()
        await curio.ignore_after(max(0.0, delay), self._alarms_changed.suspend, "BRIDGEIO_TIMERS")

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Called inside the collector, in any thread: only asks for a task that finishes the generator."""
        with suppress(RuntimeError):
            self.call_soon_threadsafe(partial(self._finish, generator))

    def _finish(self, generator: AsyncGenerator[Any, Any]) -> None:
        async def finish() -> None:
            await generator.aclose()

        self.spawn(finish(), f"finishes {generator!r}", Scope())


class _Alarm:
    """A callback of `CurioHost.call_at`. The core asks for one at a time, so a set will do."""

    __slots__ = ("_alarms", "callback", "when")

    def __init__(self, alarms: set[_Alarm], when: float, callback: Callable[[], None]) -> None:
        self._alarms = alarms
        self.when = when
        self.callback = callback

    def cancel(self) -> None:
        self._alarms.discard(self)


class _Watch:
    """A task for each direction that is watched. Cancelled in the same turn, so before anybody can
    register another file under the descriptor's number."""

    def __init__(self, host: CurioHost) -> None:
        self._host = host
        self._ended = False
        self._tasks: list[curio.Task] = []

    def cancel(self) -> None:
        self._ended = True
        for task in self._tasks:
            self._host.request(partial(task.cancel, blocking=False))

    async def keep_calling(
        self, wait: Callable[[int], Awaitable[None]], fd: int, callback: Callable[[], object]
    ) -> None:
        self._tasks.append(await curio.current_task())
        while not self._ended:
            await wait(fd)
            if not self._ended:
                await self._host.call(callback)


async def current_host() -> CurioHost:
    """The host of the running kernel, made at its first use."""
    kernel = await _get_kernel()
    host: CurioHost | None = getattr(kernel, _ATTRIBUTE, None)
    if host is None:
        host = CurioHost()
        setattr(kernel, _ATTRIBUTE, host)
        await host.start()
    return host
