"""Tasks on gevent: greenlets that drive a coroutine which never yields.

Rule 1: a task that waits (`GeventTask.waiting`) goes on when the host's turn has come to it, and at no
other switch: gevent switches into greenlets for reasons of its own.
Rule 2: a wake-up puts the task into the host's queue once, and only its turn takes it out. What is
thrown into the greenlet in between is kept, because the result was there first.
Rule 3: gevent's hub tells a greenlet when it leaves for it in a gevent call (``switch_out``); our own
waits go past that. So a task is in a native wait if it has left that way and waits for nothing of ours.
"""

from __future__ import annotations

import contextvars
import sys
import weakref
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import gevent
from greenlet import GreenletExit, getcurrent, greenlet

from bridgeio.contract import BUDGET, CURRENT, Scope, Task, cancel, why
from bridgeio.done import DONE

if TYPE_CHECKING:
    from bridgeio_gevent.host import GeventHost

__all__ = ["Cancelled", "GeventTask", "TaskGreenlet", "carried_by", "carry_nothing", "drive", "new_strand", "steps"]

T = TypeVar("T")

_ATTRIBUTE = "_bridgeio_task"


class Cancelled(GreenletExit):  # type: ignore[misc]  # greenlet tells no types
    """A cancellation by a scope of ours. gevent's own ``kill()`` throws the plain class."""


def _nobody() -> None:
    """Who carries a task that has not been started."""


class GeventTask(Task):
    """Waits by switching to the hub.

    :ivar waiting: in a wait of ours; see rule 1.
    :ivar root: the task's own node in the cancellation tree.
    :ivar resume: switches into the greenlet; set while the task is driven, and before.
    """

    __slots__ = ("_greenlet", "_native", "_to_hub", "driven", "resume", "root", "thread", "waiting")

    host: GeventHost
    thread: int

    def __init__(self, host: GeventHost, name: str, scope: Scope) -> None:
        super().__init__(host, name, scope)
        self.root = scope
        self.thread = 0
        self.waiting = False
        self.driven = False
        self.resume: Callable[[], object] | None = None
        self._greenlet: Callable[[], greenlet | None] = _nobody
        self._native: BaseException | None = None
        self._to_hub = host.to_hub

    def park(self, abort: Callable[[], bool]) -> Any:
        """Waits here and now; what it returns is awaited in no time."""
        if self.kept and abort():
            raise self._take_kept()
        host = self.host
        self.abort = abort
        self.waiting = True
        self.thread = 0
        host.waiting += 1
        if not host.held:
            host.hold()
        try:
            while self.waiting:
                self._to_hub()
        except BaseException as error:
            self._endure(error)
        self.thread = host.thread
        self.budget = BUDGET
        if self.failing:
            raise self.cancellation()
        return DONE

    def wake(self) -> None:
        if self.abort is not None:
            self.abort = None
            host = self.host
            host.ready.append(self)
            if not host.prodded:
                host.prod()

    def give_way(self) -> Any:
        host = self.host
        self.waiting = True
        self.thread = 0
        host.waiting += 1
        host.ready.append(self)
        host.prod()
        try:
            while self.waiting:
                self._to_hub()
        except BaseException as error:
            self._endure(error)
        self.thread = host.thread
        self.budget = BUDGET
        return DONE

    def interrupt(self) -> bool:
        """Asks the hub to look: there every greenlet is suspended, and it is certain who waits for what.
        Whether the task has heard of it is noted when it has."""
        if not self.thread:
            self.host.end_native_wait_of(self)
        return False

    def end_native_wait(self) -> None:
        """Called in the hub: throws, if the task is in a gevent call and has not heard of its cancel."""
        scope = self.scope
        inside = self._greenlet()
        if inside is None or inside.dead or self.waiting or not scope.cancelled or scope.edge:
            return
        greenlet.throw(inside, self.cancellation())

    def leave_for_native_wait(self) -> None:
        """What gevent's hub calls as ``switch_out``. The task is found again by `current_task`."""
        self.thread = 0
        self.enter_native_wait()
        self.host.settle()

    def cancellation(self) -> BaseException:
        self.failing = False
        self.scope.edge = True
        return Cancelled(*why(self.scope))

    def is_ours(self, error: BaseException) -> bool:
        return isinstance(error, Cancelled)

    def ends_a_block(self, error: BaseException) -> bool:
        return isinstance(error, (GreenletExit, gevent.Timeout))

    async def raise_kept(self) -> None:
        raise self._take_kept()

    def keep(self, error: BaseException) -> None:
        """A kill is not lost; a `gevent.Timeout` must not come after its block."""
        if isinstance(error, GreenletExit) and not self.is_ours(error):
            self._keep(error)

    def carry_in(self, inside: greenlet) -> None:
        """Makes the greenlet know its task, and tell it when it leaves for the hub."""
        setattr(inside, _ATTRIBUTE, self)
        setattr(inside, "switch_out", self.leave_for_native_wait)  # noqa: B010 - not one of greenlet's own
        self._greenlet = weakref.ref(inside)

    def is_carried(self) -> bool:
        inside = self._greenlet()
        return inside is not None and not inside.dead

    def innermost_frame(self) -> FrameType | None:
        """A greenlet that is suspended has a stack of its own; the one that runs has its thread's."""
        inside = self._greenlet()
        if inside is None or inside.dead:
            return None
        frame: FrameType | None = inside.gr_frame
        return frame if frame is not None or not inside else sys._current_frames().get(self.host.thread)

    def native_wait(self) -> str | None:
        inside = self._greenlet()
        if self.waiting or not inside:
            return None
        return "running" if inside.gr_frame is None else "in a call of gevent's"

    def start_here(self) -> None:
        self.driven = True
        self.thread = self.host.thread
        self.resume = getcurrent().switch
        self.host.task_started(self)

    def end_here(self) -> None:
        self.driven = False
        self.coro = None
        self.thread = 0
        self.resume = None  # the greenlet keeps the task: a circle, otherwise
        self.host.task_ended(self)

    def pay_what_is_kept(self) -> None:
        """The coroutine has ended with a result, and waits no more: what was thrown meanwhile is due.

        A kill comes once more if the greenlet lives on, at whatever it waits for next, as gevent says
        of kills. Anything else is raised: a Timeout must not come after its block.
        """
        if not self.kept:
            return
        error = self._take_kept()
        if not isinstance(error, GreenletExit):
            raise error
        self.host.hub.loop.run_callback(_throw_if_alive, getcurrent(), error)

    def _endure(self, error: BaseException) -> None:
        """Something was thrown in during a wait: takes the wait back and raises it, or keeps it."""
        while self.abort is None or not self.abort():
            self._keep(error)
            try:
                while self.waiting:
                    self._to_hub()
                return
            except BaseException as another:
                error = another
        self.abort = None
        self.waiting = False
        self.host.waiting -= 1
        self.thread = self.host.thread  # pyright: ignore[reportIncompatibleMethodOverride]
        raise error

    def _keep(self, error: BaseException) -> None:
        """One is enough, but a kill does not displace Ctrl-C."""
        if not self.kept or not isinstance(error, GreenletExit):
            self.kept = True
            self._native = error

    def _take_kept(self) -> BaseException:
        self.kept = False
        error, self._native = self._native, None
        assert error is not None
        return error


class TaskGreenlet(gevent.Greenlet):  # type: ignore[misc]
    """What `bridgeio_gevent.spawn` returns. A kill is a cancel, also before the first step."""

    def __init__(self, task: GeventTask, coro: Coroutine[Any, Any, object]) -> None:
        super().__init__()
        setattr(self, "name", task.name)  # noqa: B010 - gevent's types call it read-only
        self.gr_context = contextvars.copy_context()
        self._task = task
        self._coro: Coroutine[Any, Any, object] | None = coro
        self._killed_early = False

    def throw(self, *args: Any) -> object:
        """Called in the hub by every kind of kill."""
        if self._is_kill(args[0] if args else GreenletExit):
            if not self._killed_early:
                cancel(self._task.root)
            self._killed_early = False
            return None
        self._give_up_start()
        return super().throw(*args)

    def _run(self) -> object:
        coro, self._coro = self._coro, None
        assert coro is not None
        self._task.carry_in(self)
        return drive(self._task, coro)

    def _maybe_kill_before_start(self, exception: Any) -> bool:
        """gevent asks this first, and a greenlet that was killed here never runs."""
        if self._coro is not None and self._is_kill(exception):
            if not self._task.root.called:
                cancel(self._task.root)
                self._killed_early = True  # it goes on with throw(), which must not tell the task twice
            return False
        self._give_up_start()
        base: Any = super()
        return bool(base._maybe_kill_before_start(exception))

    def _give_up_start(self) -> None:
        coro, self._coro = self._coro, None
        if coro is not None:
            coro.close()

    def _is_kill(self, exception: Any) -> bool:
        return isinstance(exception, GreenletExit) or (
            isinstance(exception, type) and issubclass(exception, GreenletExit)
        )


def new_strand(task: GeventTask, coro: Coroutine[Any, Any, object]) -> greenlet:
    """A raw greenlet under the hub, for a task that the core started; it waits for its first turn."""

    def run() -> None:
        task.waiting = False
        drive(task, coro)

    strand = greenlet(run, task.host.hub)
    strand.gr_context = contextvars.copy_context()
    task.carry_in(strand)
    task.resume = strand.switch
    return strand


def carried_by(inside: greenlet) -> GeventTask | None:
    """The task that a greenlet carries, if any."""
    task: GeventTask | None = getattr(inside, _ATTRIBUTE, None)
    return task


def carry_nothing(inside: greenlet) -> None:
    delattr(inside, _ATTRIBUTE)
    delattr(inside, "switch_out")


def drive(task: GeventTask, coro: Coroutine[Any, Any, T]) -> T:
    """Runs a task's coroutine to its end, in the calling greenlet."""
    current = CURRENT.set(task)
    named = _tell_sniffio()
    task.start_here()
    if task.coro is None:
        task.coro = coro  # the core says so of what the core starts
    try:
        result = steps(coro)
        task.pay_what_is_kept()
        return result
    finally:
        task.end_here()
        if named is not None:
            named[0].reset(named[1])
        CURRENT.reset(current)


def steps(coro: Coroutine[Any, Any, T]) -> T:
    """Whatever comes out of the coroutine but its end belongs to another framework."""
    try:
        foreign = coro.send(None)
        while True:
            foreign = coro.throw(_refusal(foreign))
    except StopIteration as stop:
        return cast("T", stop.value)


def _refusal(foreign: object) -> TypeError:
    what = "this awaitable" if foreign is None else f"an awaitable of {type(foreign).__module__}"
    return TypeError(
        f"{what} needs another framework (it yielded {foreign!r}): on gevent a task can await bridgeio's "
        "functions and other coroutines; gevent's own calls block just the task, call them without await"
    )


def _tell_sniffio() -> tuple[contextvars.ContextVar[Any], contextvars.Token[Any]] | None:
    sniffio = sys.modules.get("sniffio")
    variable = getattr(sniffio, "current_async_library_cvar", None)
    return None if variable is None else (variable, variable.set("gevent"))


def _throw_if_alive(inside: greenlet, error: BaseException) -> None:
    if not inside.dead:
        greenlet.throw(inside, error)
