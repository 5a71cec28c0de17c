"""Tasks on asyncio: what is the same for all of them, and those that bridgeio starts."""

from __future__ import annotations

import asyncio
import sys
from asyncio import current_task  # bound once: asked at each step of a byte's way
from asyncio.tasks import _enter_task as enter_task
from asyncio.tasks import _leave_task as leave_task
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from inspect import CORO_CREATED, getcoroutinestate
from math import inf
from types import CodeType, FrameType, coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from bridgeio.contract import BUDGET, CURRENT, Scope, Task, why
from bridgeio.unpatched import get_ident
from bridgeio_asyncio.wait import Wait

if TYPE_CHECKING:
    from bridgeio_asyncio.host import AsyncioHost

__all__ = ["ScopeCancelled", "SpawnedTask", "WaitingTask", "is_about_to_be_cancelled", "start_by_factory"]

T = TypeVar("T")

_STRUCK_AT = "_bridgeio_struck_at"  # on a cancellation of asyncio's that ended a wait: how many had come by then


class ScopeCancelled(asyncio.CancelledError):
    """A cancellation by a scope of ours. asyncio's own is the plain class."""


class WaitingTask(Task):
    """Parks on a `Wait`. Works under any driver that understands Futures: asyncio's, or ours around it.

    A cancellation of asyncio's is told from ours by `asyncio.Task.cancelling`, which counts what came, and
    never by its being zero: somebody may have swallowed one long ago.

    :ivar _heard_at: how many had come when our scope was last heard of; what comes later is not ours.
    :ivar _kept_at: how many had come with the first that is kept.
    :ivar _kept_args: its message.
    """

    __slots__ = ("_heard_at", "_kept_args", "_kept_at", "_wait", "native")

    def __init__(self, host: AsyncioHost, name: str, scope: Scope, native: asyncio.Task[Any] | None) -> None:
        Task.__init__(self, host, name, scope)
        self.native = native
        self._heard_at = -1
        self._kept_at: float = 0
        self._kept_args: tuple[Any, ...] = ()
        self._wait = Wait(host.loop)

    @property
    def thread(self) -> int:
        """Asked of asyncio each time: since Python 3.12 a task may begin in the middle of another's step, with
        a copy of its context; and a thread may have got that copy, whom the loop's own thread says nothing."""
        try:
            running = current_task()
        except RuntimeError:
            return 0
        return get_ident() if running is not None and running is self.native else 0

    def running_in(self) -> int:
        running = current_task(self.host.loop)
        return self.host.thread if running is not None and running is self.native else 0

    @coroutine
    def park(self, abort: Callable[[], bool]) -> Generator[Any, Any, None]:
        self.abort = abort
        wait = self._wait
        wait._asyncio_future_blocking = True
        try:
            yield wait
        except asyncio.CancelledError as error:
            if self._was_woken():  # first, so the result wins
                self._keep(error)
            elif abort():
                self.abort = None
                self._mark(error)
                raise
            else:
                yield from self._park_on(abort, error)
        except BaseException:  # the driver is closing us
            self.abort = None
            abort()
            raise
        self.budget = BUDGET
        if self.failing:
            raise self.cancellation()

    def wake(self) -> None:
        if self.abort is not None:
            self.abort = None
            self._wait.end_soon()  # or a native cancellation has; park() sees that this was first

    def wake_now(self) -> None:
        if asyncio.current_task(self.host.loop) is not None:
            self.wake()
        elif self.abort is not None:
            self.abort = None
            self._wait.end_now()

    @coroutine
    def give_way(self) -> Generator[Any, Any, None]:
        self.budget = BUDGET
        before = self._natives_heard()
        try:
            yield
        except asyncio.CancelledError as error:
            self._keep(error, before + 1)

    @coroutine
    def raise_kept(self) -> Generator[Any, Any, None]:
        self.deliver_kept(asyncio.current_task())
        yield

    def keep(self, error: BaseException) -> None:
        """Unless it has been taken back: an `asyncio.timeout` inside the block may have been left by now."""
        native = self.native
        if native is None or self.is_ours(error):
            return
        if self._natives(native) >= getattr(error, _STRUCK_AT, 1):
            self._keep(error)

    def _natives(self, native: asyncio.Task[Any]) -> int:
        """How many cancellations that are not ours have come, and were not taken back."""
        return native.cancelling()

    def _natives_heard(self) -> int:
        """The same without what is still to come."""
        return 0 if self.native is None else self._natives(self.native) - is_about_to_be_cancelled(self.native)

    def _mark(self, error: BaseException) -> None:
        """This one is asyncio's, whatever comes after it."""
        if self.native is not None:
            setattr(error, _STRUCK_AT, self._natives(self.native))

    def has_pending_cancellation(self) -> bool:
        return super().has_pending_cancellation() or self._is_to_be_cancelled()

    def _is_to_be_cancelled(self) -> bool:
        """Natively, in its next step."""
        waited = getattr(self.native, "_fut_waiter", None)
        return is_about_to_be_cancelled(self.native) or (waited is not None and bool(waited.cancelled()))

    def native_wait(self) -> str | None:
        waited = None if self.native is None else getattr(self.native, "_fut_waiter", None)
        return None if waited is None or waited is self._wait else f"awaiting {waited!r:.200}"

    def deliver_kept(self, native: asyncio.Task[Any] | None) -> None:
        """The count stays as it is: this is the cancellation that has been counted."""
        if self.kept and native is not None:
            self.kept = False
            if self._natives(native) >= self._kept_at:
                native.uncancel()
                native.cancel(*self._kept_args)
                self._heard_at = native.cancelling() - 1

    def cancellation(self) -> BaseException:
        self.failing = False
        self.scope.edge = True
        if self.native is not None:
            self._heard_at = self.native.cancelling()
        return ScopeCancelled(*why(self.scope))

    def is_ours(self, error: BaseException) -> bool:
        """Code that waits natively may raise a fresh error for the one it was given (Condition.wait
        does, before 3.12); with no native cancellation since, it can only be ours."""
        if isinstance(error, ScopeCancelled):
            return True
        return (
            isinstance(error, asyncio.CancelledError)
            and not hasattr(error, _STRUCK_AT)
            and self.scope.edge
            and self.native is not None
            and self.native.cancelling() <= self._heard_at
        )

    def _was_woken(self) -> bool:
        return self.abort is None

    def _park_on(self, abort: Callable[[], bool], error: BaseException) -> Generator[Any, Any, None]:
        """The same wait again, after a native cancellation that could not end it."""
        again: Any = self.park(abort)
        try:
            yield from again
        finally:
            self._keep(error)
            del error  # a cycle through its traceback

    def _keep(self, error: BaseException, at: float = inf) -> None:
        """The cancellation comes again when the task waits, one turn from now, unless it has been taken
        back by then. At once would be too early: before Python 3.13 `Task.uncancel` leaves it due, so
        that an `asyncio.timeout` whose block has a result would be survived by its cancellation.
        Of two that are kept, or came as one, one may be taken back: the other is due then.

        :param at: how many had come with the first of those that this one is.
        """
        native = asyncio.current_task()
        if native is not None:
            self._kept_at = min(self._natives(native), at, self._kept_at if self.kept else inf)
            self.kept = True
            self._kept_args = error.args
            self.host.loop.call_soon(self.deliver_kept, native)


class SpawnedTask(WaitingTask, Coroutine[Any, Any, Any]):
    """A task that bridgeio started. To asyncio it is the coroutine itself that an `asyncio.Task` drives: so it
    stands between the two, and knows where the coroutine waits.

    No coroutine in between could do that: asyncio never takes the first step of one that is cancelled before it,
    and who passed something to that function, and the group that waits for it, would wait for ever. It costs less,
    too.

    :ivar advance: the coroutine's ``send``.
    :ivar foreign: what it awaits of asyncio's.
    :ivar due: whether asyncio's next step is to be its first.
    :ivar stepped_by: the thread that lets the coroutine take a step right now, else 0.
    """

    __slots__ = (
        "_body",
        "_ended",
        "_ended_by_us",
        "_is_elsewhere",
        "_thread",
        "_unseen",
        "_waited",
        "advance",
        "due",
        "foreign",
        "stepped_by",
    )

    def __init__(self, host: AsyncioHost, name: str, scope: Scope, coro: Coroutine[Any, Any, object]) -> None:
        WaitingTask.__init__(self, host, name, scope, None)
        self.advance: Callable[[Any], Any] = coro.send
        self.foreign: Any = None
        self.due = True
        self.stepped_by = 0
        self._body = coro
        self._thread = 0  # of asyncio's first step
        self._is_elsewhere = False  # in no wait of ours
        self._unseen = False
        self._waited: Any = None
        self._ended: BaseException | None = None
        self._ended_by_us = False

    # What asyncio asks of a coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # type: ignore[return-value]  # all that an `await` asks of it is here

    def __next__(self) -> Any:
        if self.native is None:
            if not self.due:
                return None
            self._begin()
        if self._is_elsewhere:
            self.end_native_wait(None)
        if self._unseen:
            self._unseen = False
            return self._step(self.replay, None)
        self.stepped_by = self._thread
        try:  # as in `_step`: a call more would show
            waited = self.advance(None)
        except BaseException:
            self._end()
            raise
        finally:
            self.stepped_by = 0
        if waited is not self._wait:
            self.begin_native_wait(waited)
        return waited

    def send(self, value: object) -> Any:
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> Any:
        error = kind if isinstance(kind, BaseException) else value or kind()
        try:
            if self.native is None:
                return self._throw_first(error)
            if self._is_elsewhere:
                error = self.end_native_wait(error)
            if self._unseen:
                self._unseen = False
                return self._step(self.replay, error)
            return self._step(self._body.throw, error)
        finally:
            del kind, value, error  # on its way out it must not be held by a frame of its own traceback

    def close(self) -> None:
        with suppress(GeneratorExit, StopIteration):
            self.throw(GeneratorExit)
            raise RuntimeError("the coroutine ignored GeneratorExit")

    @property
    def cr_frame(self) -> FrameType | None:
        """Asked by those who look at an `asyncio.Task`."""
        return getattr(self._body, "cr_frame", None)

    @property
    def cr_code(self) -> CodeType | None:
        return getattr(self._body, "cr_code", None)

    def _begin(self) -> None:
        native = current_task()
        assert native is not None
        self.native = native
        self._thread = get_ident()
        self.host.tasks[native] = self
        CURRENT.set(self)

    def _throw_first(self, error: BaseException) -> Any:
        """A native cancellation before the first step. The coroutine begins all the same, and is to hear of it."""
        try:
            if not isinstance(error, asyncio.CancelledError):
                self._body.close()
                raise error
            self._begin()
            self.keep(error)
        finally:
            del error
        return self._step(self.advance, None)

    def _step(self, advance: Callable[[Any], Any], error: BaseException | None) -> Any:
        """Passes on what the coroutine awaits, and knows by that where it waits."""
        self.stepped_by = self._thread
        try:
            waited = advance(error)
        except BaseException:
            self._end()
            raise
        finally:
            self.stepped_by = 0
            del error
        if waited is not self._wait:
            self.begin_native_wait(waited)
        return waited

    def _end(self) -> None:
        native = self.native
        if self.kept:
            self.deliver_kept(native)
        if native is not None:
            del self.host.tasks[native]
        self.native = None  # ends the cycle through the context, which knows the task

    # What bridgeio asks of a task

    def wake_now(self) -> None:
        """Takes the coroutine's next step right here. As long as each one ends in a wait of ours, asyncio
        is not asked: for it, the task is in one wait all the time. (The hot path: a call costs more.)"""
        wait = self._wait
        callback, context, native = wait.callback, wait.context, self.native
        if self.abort is None or callback is None or context is None or native is None:
            self.abort = None  # something else came first, and is on its way
            return
        loop = self.host.loop
        try:
            enter_task(loop, native)
        except RuntimeError:  # this is in the middle of another task's step
            self.wake()
            return
        self.abort = None
        self.stepped_by = get_ident()
        wait.callback = None
        wait.refused = False
        try:
            waited = context.run(self.advance, None)
        except BaseException as error:
            waited = None
            self._ended = error
        finally:
            leave_task(loop, native)
            self.stepped_by = 0
        wait.callback = callback
        if waited is not wait or wait.refused:
            self._waited = waited
            self._unseen = True
            wait.end_now()

    def replay(self, cancelled: BaseException | None) -> Any:
        """What came of the step that asyncio has not seen, for it to see now.

        :param cancelled: if the task was cancelled natively within that step, asyncio raises that only
            now: it belongs to what the coroutine came to wait for, or ends it, as asyncio has it.
        """
        ended, self._ended = self._ended, None
        waited, self._waited = self._waited, None
        try:
            if ended is not None:
                raise cancelled if cancelled is not None and isinstance(ended, StopIteration) else ended
        finally:
            del ended  # a cycle through its traceback
        if cancelled is not None:
            self._mark(cancelled)
        if cancelled is None or (waited is not self._wait and asyncio.isfuture(waited) and waited.cancel()):
            return waited
        return self._body.throw(cancelled)

    def interrupt(self) -> bool:
        if self.foreign is None or self.native is None or is_about_to_be_cancelled(self.native):
            return False
        if not self.foreign.cancel():
            return False
        self._heard_at = self.native.cancelling()
        self._ended_by_us = True
        return True

    def begin_native_wait(self, waited: Any) -> None:
        self._is_elsewhere = True
        self.foreign = waited
        if waited is not None:
            self.enter_native_wait()

    def end_native_wait(self, error: BaseException | None) -> BaseException | None:
        """What the coroutine is to see of an error that ended its wait."""
        self._is_elsewhere = False
        self.foreign = None
        ended_by_us, self._ended_by_us = self._ended_by_us, False
        if not isinstance(error, asyncio.CancelledError):
            return error
        assert self.native is not None
        if ended_by_us and self.native.cancelling() <= self._heard_at:
            return self.cancellation()
        if ended_by_us:  # asyncio's came after ours, and the task sees one: it has not heard of the scope yet
            self.scope.edge = False
        self._mark(error)
        return error


def is_about_to_be_cancelled(native: asyncio.Task[Any] | None) -> bool:
    """By asyncio, in whatever it waits for next: `Task.cancel` was called while it was in no wait. That one is
    counted already, so it could not be told from an end of the wait that we caused."""
    return bool(getattr(native, "_must_cancel", False))


if sys.version_info < (3, 12):
    # No task begins in the middle of another's step there, so this is what asyncio would say, and it is asked
    # twice for each message: by asyncio, that cost a fifth of an echo.
    SpawnedTask.thread = vars(SpawnedTask)["stepped_by"]  # type: ignore[method-assign]


def start_by_factory(task: SpawnedTask) -> None:
    """For a loop whose tasks somebody's factory makes. It may want a coroutine of the usual kind, untouched, to wrap
    it: then we look again when all is over, because asyncio may never have begun with that one. (An eager factory
    begins at once, in the middle of the step of whoever starts the task.)"""
    task.due = False
    body = _drive(task)
    native = task.host.loop.create_task(body, name=task.name)
    native.add_done_callback(partial(_start_if_skipped, task, body))
    task.due = True


async def _drive(task: SpawnedTask) -> Any:
    return await task


def _start_if_skipped(task: SpawnedTask, skipped: Coroutine[Any, Any, object], native: asyncio.Task[Any]) -> None:
    if getcoroutinestate(task._body) == CORO_CREATED:
        skipped.close()
        asyncio.Task(task, loop=task.host.loop, name=task.name).cancel()
