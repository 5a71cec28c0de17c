"""Time that passes only while nobody does anything: hours of deadlines in milliseconds, the same ones each run.

Rule 1: time stands still while a task runs, is about to run, or is in a wait of the framework's own.
Rule 2: when every task is parked in a wait of ours, time jumps to the next deadline. A task that waits for
a socket or for another thread is parked too: bytes on their way do not keep time from jumping.
Rule 3: where scopes are the framework's own, so is the clock: Trio has its `trio.testing.MockClock`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import ceil
from typing import Any, TypeVar, TypeVarTuple

import bridgeio
from bridgeio.contract import Host, Scope, Task, Timers, cancel
from bridgeio.registry import backend as load_backend
from bridgeio.registry import current_host, current_task
from bridgeio.tasks import families

__all__ = ["run_in_virtual_time"]

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run_in_virtual_time(
    async_fn: Callable[[*Args], Coroutine[Any, Any, T]],
    *args: *Args,
    backend: str = "asyncio",
    backend_options: Mapping[str, object] | None = None,
) -> T:
    """`bridgeio.run`, with a clock that jumps to the next deadline whenever every task waits.

    ``sleep``, scopes and all that go by `bridgeio.current_time` see nothing unusual, and what the program does is a
    matter of its deadlines, never of how busy the machine is. Two that are due at the same moment are as
    unordered as ever.

    For tasks that wait for each other and for the clock. A wait for a socket, a thread or a process does not
    hold time up; one in the framework's own call does, for as long as it really takes.

    :raises RuntimeError: on an adapter with scopes and a clock of its own that is not Trio.
    """
    options = dict(backend_options or {})
    load_backend(backend)
    if backend == "trio":
        return bridgeio.run(async_fn, *args, backend=backend, backend_options={"clock": _trio_clock(), **options})

    async def main() -> T:
        with _virtual(current_host()) as clock:
            async with _Driver(clock):
                return await async_fn(*args)

    return bridgeio.run(main, backend=backend, backend_options=options)


def _trio_clock() -> object:
    """By name: no import statement of the core may speak of a framework."""
    clock: object = import_module("trio.testing").MockClock(autojump_threshold=0)
    return clock


@dataclass(slots=True)
class _Alarm:
    """What `Timers` has asked to be called at; it asks for one at a time.

    :ivar callback: ``None`` when it was taken back, or called.
    """

    when: float
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class _Clock:
    """A clock that is moved by hand.

    :ivar on_alarm: called when there is a deadline to jump to.
    """

    def __init__(self, start: float) -> None:
        self._now = start
        self._alarm = _Alarm(start, None)
        self.on_alarm: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> _Alarm:
        self._alarm = _Alarm(when, callback)
        self.on_alarm()
        return self._alarm

    def is_set(self) -> bool:
        return self._alarm.callback is not None

    def jump(self) -> None:
        """To the deadline, and makes the call."""
        callback = self._alarm.callback
        assert callback is not None
        self._now = max(self._now, self._alarm.when)
        callback()


@contextmanager
def _virtual(host: Host) -> Iterator[_Clock]:
    """A block in which the host's time is the clock's. It begins with a whole number, for which the sums of
    ordinary deadlines are exact, and never before the host's time, which others may remember."""
    if host.native_scopes:
        raise RuntimeError(f"{host.backend} has scopes and a clock of its own: give its run one that is virtual")
    clock = _Clock(float(ceil(host.now())))
    timers, real_now, real_clock = host.timers, host.now, host.clock
    host.timers = Timers(clock.now, clock.call_at)
    host.now = host.clock = clock.now  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        host.timers.close()
        host.timers = timers
        host.now, host.clock = real_now, real_clock  # type: ignore[method-assign]


class _Driver:
    """A task beside all others, in no scope of theirs, that gives way until everybody waits, and then jumps."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._scope = Scope()
        self._ended = bridgeio.Event()

    async def __aenter__(self) -> None:
        current_task().host.spawn(self._drive(), "virtual time", self._scope)

    async def __aexit__(self, *exc: object) -> None:
        cancel(self._scope)
        with bridgeio.CancelScope(shield=True):
            await self._ended.wait()

    async def _drive(self) -> None:
        task, clock = current_task(), self._clock
        clock.on_alarm = task.wake
        try:
            while True:
                if not clock.is_set():
                    await self._wait_for_alarm(task)
                elif _all_parked(task):
                    clock.jump()
                else:
                    await bridgeio.lowlevel.checkpoint()
        finally:
            self._ended.set()

    async def _wait_for_alarm(self, task: Task) -> None:
        await task.checkpoint_if_cancelled()
        await task.park(lambda: True)


def _all_parked(driver: Task) -> bool:
    """A task that was woken is parked no more, although it has not run yet."""
    tasks: list[Task] = families(driver.host.tasks_known())
    return all(task.abort is not None for task in tasks if task is not driver)
