"""Tasks on asyncio: those that bridgeio starts, and those it finds itself in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from bridgeio.contract import BUDGET, CURRENT, Scope, Task
from bridgeio.unpatched import get_ident

if TYPE_CHECKING:
    from bridgeio_asyncio.host import AsyncioHost

__all__ = ["AdoptedTask", "ScopeCancelled", "SpawnedTask", "drive"]

T = TypeVar("T")


class ScopeCancelled(asyncio.CancelledError):
    """A cancellation by a scope of ours. asyncio's own is the plain class."""


class _FutureTask(Task):
    """Parks on Futures. Works under any driver that understands them: asyncio's, or ours around it."""

    __slots__ = ("_create_future", "_future", "_kept_at", "native")

    def __init__(self, host: AsyncioHost, name: str, scope: Scope, native: asyncio.Task[Any] | None) -> None:
        super().__init__(host, name, scope)
        self.native = native
        self._kept_at = 0
        self._create_future: partial[asyncio.Future[None]] = partial(asyncio.Future, loop=host.loop)
        self._future: asyncio.Future[None] = self._create_future()

    @coroutine
    def park(self, abort: Callable[[], bool]) -> Generator[Any, Any, None]:
        self.abort = abort
        create_future = self._create_future
        self._future = future = create_future()
        try:
            yield from future
        except asyncio.CancelledError:
            if self._was_woken():  # first, so the result wins
                self._keep()
            elif abort():
                self.abort = None
                raise
            else:
                try:
                    yield from self._park_on(abort)
                finally:
                    self._keep()
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
            future = self._future
            try:
                future.set_result(None)
            except asyncio.InvalidStateError:
                pass  # cancelled natively meanwhile; park() sees that we were first

    @coroutine
    def give_way(self) -> Generator[Any, Any, None]:
        self.budget = BUDGET
        try:
            yield
        except asyncio.CancelledError:
            self._keep()

    @coroutine
    def raise_kept(self) -> Generator[Any, Any, None]:
        self.deliver_kept(asyncio.current_task())
        yield

    def keep(self, error: BaseException) -> None:
        if not self.is_ours(error):
            self._keep()

    def deliver_kept(self, native: asyncio.Task[Any] | None) -> None:
        """The count stays as it is: this is the cancellation that has been counted."""
        if self.kept and native is not None:
            self.kept = False
            if native.cancelling() >= self._kept_at:
                native.uncancel()
                native.cancel()

    def cancellation(self) -> BaseException:
        self.failing = False
        self.scope.edge = True
        return ScopeCancelled()

    def _was_woken(self) -> bool:
        return self.abort is None

    def _park_on(self, abort: Callable[[], bool]) -> Any:
        """The same wait again, after a native cancellation that could not end it."""
        return self.park(abort)

    def _keep(self) -> None:
        """The cancellation comes again when the task waits, one turn from now, unless it has been taken
        back by then. At once would be too early: before Python 3.13 `Task.uncancel` leaves it due, so
        that an `asyncio.timeout` whose block has a result would be survived by its cancellation."""
        native = asyncio.current_task()
        if native is not None:
            self.kept = True
            self._kept_at = native.cancelling()
            self.host.loop.call_soon(self.deliver_kept, native)


class SpawnedTask(_FutureTask):
    """A task that bridgeio started: `drive` stands between asyncio and the coroutine."""

    __slots__ = ("_ended_by_us", "foreign", "thread")

    thread: int

    def __init__(self, host: AsyncioHost, name: str, scope: Scope) -> None:
        super().__init__(host, name, scope, None)
        self.thread = 0  # pyright: ignore[reportIncompatibleMethodOverride] (a slot may stand for a property)
        self.foreign: Any = None
        self._ended_by_us = False

    def interrupt(self) -> bool:
        if self.foreign is None or not self.foreign.cancel():
            return False
        self._ended_by_us = True
        return True

    def is_ours(self, error: BaseException) -> bool:
        """Code that waits natively may raise a fresh error for the one it was given (Condition.wait
        does, before 3.12); with no native cancellation under way it can only be ours."""
        if isinstance(error, ScopeCancelled):
            return True
        return (
            isinstance(error, asyncio.CancelledError)
            and self.scope.edge
            and self.native is not None
            and self.native.cancelling() == 0
        )

    def begin_native_wait(self, waited: Any) -> None:
        self.foreign = waited
        scope = self.scope
        if scope.cancelled and not scope.edge and self.interrupt():
            scope.edge = True

    def end_native_wait(self, error: BaseException | None) -> BaseException | None:
        """What the coroutine is to see of an error that ended its wait."""
        self.foreign = None
        ended_by_us, self._ended_by_us = self._ended_by_us, False
        if not ended_by_us or not isinstance(error, asyncio.CancelledError):
            return error
        assert self.native is not None
        return error if self.native.cancelling() else self.cancellation()


async def drive(task: SpawnedTask, coro: Coroutine[Any, Any, T]) -> T:
    """The body of the `asyncio.Task` that carries one of ours."""
    native = asyncio.current_task()
    assert native is not None
    task.native = native
    task.host.tasks[native] = task
    CURRENT.set(task)
    try:
        return await _steps(task, coro)
    finally:
        task.deliver_kept(native)
        del task.host.tasks[native]
        task.native = None  # ends the cycle through the context, which knows the task


@coroutine
def _steps(task: SpawnedTask, coro: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Passes on what the coroutine awaits, and knows by that where it waits."""
    send = coro.send
    thread = get_ident()
    error: BaseException | None = None
    while True:
        task.thread = thread
        try:
            if error is None:
                waited = send(None)
            else:
                thrown, error = error, None
                waited = coro.throw(thrown)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            task.thread = 0
        if task.abort is not None:
            try:
                yield waited
            except BaseException as raised:
                error = raised
            continue
        task.begin_native_wait(waited)
        try:
            yield waited
        except BaseException as raised:
            error = task.end_native_wait(raised)
        else:
            task.end_native_wait(None)


class AdoptedTask(_FutureTask):
    """A task that somebody else started, and that called bridgeio. asyncio drives it directly, so
    the only way to end its native waits is its own: `Task.cancel`, once, and `Task.uncancel` after."""

    __slots__ = ("_owed",)

    native: asyncio.Task[Any]

    def __init__(self, host: AsyncioHost, native: asyncio.Task[Any]) -> None:
        super().__init__(host, native.get_name(), Scope(), native)
        self._owed = 0

    @property
    def thread(self) -> int:
        native: asyncio.Task[Any] | None = asyncio.current_task(self.host.loop)
        return get_ident() if native is self.native else 0

    def interrupt(self) -> bool:
        self.host.loop.call_soon(self._end_native_wait)
        return False

    def is_ours(self, error: BaseException) -> bool:
        if isinstance(error, ScopeCancelled):
            return True
        return isinstance(error, asyncio.CancelledError) and 0 < self._owed >= self.native.cancelling()

    def forgive(self) -> None:
        while self._owed:
            self._owed -= 1
            self.native.uncancel()

    def _end_native_wait(self) -> None:
        """One turn later the task is at its next wait. If that is ours, it knows by itself."""
        scope = self.scope
        if self.abort is None and scope.cancelled and not scope.edge and not self.native.done():
            scope.edge = True
            self._owed += 1
            self.native.cancel()
