"""Tasks on threads: each parks in its own thread, and is driven by nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from bridgeio.contract import BUDGET, Scope, Task
from bridgeio.done import DONE
from bridgeio.unpatched import get_ident, original
from bridgeio_threads.parking import AWAKE

if TYPE_CHECKING:
    from bridgeio_threads.host import ThreadsHost
    from bridgeio_threads.parking import Parking

__all__ = ["Cancelled", "ThreadTask", "drive"]

T = TypeVar("T")

_let_others_run: Callable[[float], None] = original("time", "sleep")


class Cancelled(BaseException):
    """A cancellation on threads. No `Exception`, so that ``except Exception`` lets it pass."""


class ThreadTask(Task):
    """One thread's work from its start to its end; under `blocking`, all calls of one plain thread.

    :ivar parking: what the thread waits with while the task runs.
    :ivar struck_by: an exception that is to be raised in a wait, this one or the next.
    """

    __slots__ = ("_broken_off", "_ident", "parking", "struck_by", "thread")

    host: ThreadsHost
    parking: Parking
    thread: int

    def __init__(self, host: ThreadsHost, name: str, scope: Scope) -> None:
        super().__init__(host, name, scope)
        self.struck_by: BaseException | None = None
        self.thread = 0
        self._broken_off = False
        self._ident = 0

    def begin(self) -> None:
        """The calling thread is the task's, and holds the baton."""
        self._ident = self.thread = get_ident()

    def end(self) -> None:
        self.thread = 0

    def forget(self) -> None:
        """After a fork: its thread is the parent's, and so is the pipe that it waits at. Nothing must wake it here."""
        self.abort = None
        self.thread = 0
        self.parking.close()

    def park(self, abort: Callable[[], bool]) -> Any:
        self.abort = abort
        self.thread = 0
        if self.struck_by is not None:
            self.strike(self.struck_by)
        rest = self.parking.rest
        while self.abort is not None:
            try:
                rest()
            except BaseException as error:
                self.parking.asleep = AWAKE  # it may have been raised on the way to sleep: nobody is to be queued
                self.strike(error)
        self.thread = self._ident  # type: ignore[unreachable]
        self.budget = BUDGET
        if self.failing:
            raise self.cancellation()
        if self._broken_off:
            raise self._taken_strike()
        return DONE

    def wake(self) -> None:
        if self.abort is not None:
            self.abort = None
            if self.parking.asleep:
                self.parking.rouse()

    wake_now = wake

    def interrupt(self) -> bool:
        return False

    def give_way(self) -> Any:
        self.budget = BUDGET
        self.thread = 0
        try:
            self._let_others_go_on()
        except BaseException as error:
            self.strike(error)
        finally:
            self.thread = self._ident  # pyright: ignore[reportIncompatibleMethodOverride] (a slot stands for it)
        return DONE

    def innermost_frame(self) -> FrameType | None:
        return sys._current_frames().get(self._ident)

    def native_wait(self) -> str | None:
        """It runs without the baton, or waits for that."""
        frame = self.innermost_frame()
        ours = frame is not None and str(frame.f_globals.get("__name__")).startswith("bridgeio_threads.")
        return None if frame is None or ours else "in a blocking section"

    def strike(self, error: BaseException) -> None:
        """Raises an exception in the task, in its wait if that can be taken back, else in the next."""
        self.struck_by = error
        self.kept = True
        abort = self.abort
        if abort is not None and abort():
            self._broken_off = True
            self.wake()

    def take_strike(self) -> BaseException | None:
        """What no wait has raised by now, and none will."""
        error, self.struck_by = self.struck_by, None
        self._broken_off = self.kept = False
        return error

    async def raise_kept(self) -> None:
        raise self._taken_strike()

    def _let_others_go_on(self) -> None:
        host = self.host
        baton, gate = host.baton, self.parking.gate
        if host.lookout.keeper is None:
            host.lookout.look()
        if baton.queue:
            baton.give_way(gate)
        elif len(host.tasks) > 1:
            baton.free()
            try:
                _let_others_run(0)  # who is on the lookout, or ends a blocking section, needs the interpreter to queue
            finally:
                baton.take(gate)

    def _taken_strike(self) -> BaseException:
        error = self.take_strike()
        assert error is not None
        return error


def drive(coro: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in the caller's frame. Ours never yield; what does is foreign."""
    try:
        foreign = coro.send(None)
        while True:
            foreign = coro.throw(_refusal(foreign))
    except StopIteration as stop:
        result: T = stop.value
        return result


def _refusal(foreign: object) -> TypeError:
    return TypeError(
        f"{type(foreign).__name__} cannot be awaited on the threads backend: there is no loop here that could "
        "carry it; call something that blocks, inside bridgeio.lowlevel.blocking_section()"
    )
