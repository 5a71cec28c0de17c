"""Tasks on threads: each parks in its own thread, and is driven by nobody."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import FrameType, coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bridgeio.contract import BUDGET, Scope, Task
from bridgeio.unpatched import get_ident, original
from bridgeio_threads.parking import WRITE, Arm, Parking

if TYPE_CHECKING:
    from bridgeio_threads.host import ThreadsHost

__all__ = ["Cancelled", "ThreadTask", "drive"]

T = TypeVar("T")

_let_others_run: Callable[[float], None] = original("time", "sleep")


class Cancelled(BaseException):
    """A cancellation on threads. No `Exception`, so that ``except Exception`` lets it pass."""


@coroutine
def _no_steps() -> Generator[Any, Any, None]:
    yield from ()


def _nothing() -> Awaitable[None]:
    """What is left to await when a park has returned: it has blocked in the call. A generator that has ended may
    be awaited again and again, and enters no frame."""
    ended: Any = _no_steps()
    ended.close()
    return cast("Awaitable[None]", ended)


_NOTHING = _nothing()


class ThreadTask(Task):
    """One thread's work from its start to its end; under `blocking`, all calls of one plain thread.

    :ivar arms: what the next park polls.
    :ivar parking: what the thread waits with while the task runs.
    :ivar struck_by: an exception that is to be raised in a wait, this one or the next.
    """

    __slots__ = ("_broken_off", "_ident", "arms", "parking", "struck_by", "thread")

    host: ThreadsHost
    parking: Parking
    thread: int

    def __init__(self, host: ThreadsHost, name: str, scope: Scope) -> None:
        super().__init__(host, name, scope)
        self.arms: list[Arm] = []
        self.struck_by: BaseException | None = None
        self.thread = 0
        self._broken_off = False
        self._ident = 0

    def begin(self) -> None:
        """The calling thread is the task's, and holds the baton."""
        self._ident = self.thread = get_ident()

    def end(self) -> None:
        self.thread = 0

    def park(self, abort: Callable[[], bool]) -> Any:
        self.abort = abort
        self.thread = 0
        if self.struck_by is not None:
            self.strike(self.struck_by)
        while self.abort is not None:
            try:
                if self.arms or self.host.unserved or self.parking.listens:
                    self._poll()
                else:
                    self.parking.rest()
            except BaseException as error:
                self.strike(error)
        if self.arms:  # type: ignore[unreachable]
            self._disarm()
        self.thread = self._ident
        self.budget = BUDGET
        if self.failing:
            raise self.cancellation()
        if self._broken_off:
            raise self._taken_strike()
        return _NOTHING

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
        return _NOTHING

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

    async def raise_kept(self) -> None:
        raise self._taken_strike()

    def _poll(self) -> None:
        host = self.host
        timeout = host.serve(self) if host.unserved else None
        self._poll_for(timeout)
        if timeout is not None:
            host.run_due()

    def _poll_for(self, timeout: float | None) -> None:
        for fd, events in self.parking.poll(self.arms, timeout):
            for source, _ in self.arms:
                if source.fd == fd and source.registered:  # else it was closed meanwhile, and the number is nobody's
                    self._deliver(source, events)
                    break

    def _deliver(self, source: Any, events: int) -> None:
        """What it calls is the host's, as if another thread had polled; what it raises strikes this task."""
        host = self.host
        host.calling = self._ident
        try:
            source.on_event(events)
        finally:
            host.calling = 0
        if self.abort is not None:
            self._ignore_idle(source)

    def _ignore_idle(self, source: Any) -> None:
        """It can be written to and nothing is left over: asked again, it would say so for ever."""
        if source not in self.host.sockets.wanted:
            self.arms = [arm for arm in self.arms if arm[0] is not source or arm[1] != WRITE]

    def _disarm(self) -> None:
        self.arms.clear()
        sockets = self.host.sockets
        if sockets.wanted:
            sockets.left_by(self)

    def _let_others_go_on(self) -> None:
        host = self.host
        if host.unserved:
            self._serve_at_once()
        if host.baton.queue:
            host.baton.give_way(self.parking.gate)
        elif len(host.tasks) > 1:
            host.baton.drop()
            try:
                _let_others_run(0)  # threads whose descriptors are ready need the interpreter to join the queue
            finally:
                host.baton.take(self.parking.gate)

    def _serve_at_once(self) -> None:
        """What the host owes its descriptors and timers, without waiting for any."""
        host = self.host
        self.arms = host.sockets.given_to(self)
        if self.arms:
            self._poll_for(0.0)
            self._disarm()
        host.run_due()

    def _taken_strike(self) -> BaseException:
        error, self.struck_by = self.struck_by, None
        self._broken_off = self.kept = False
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
