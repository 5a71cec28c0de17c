"""Portals: a run, or a part of one, that foreign threads call by an object. AnyIO's names and meaning.

Rule 1: who has been given a future gets its result. What was asked for in time is started, also if the portal ends
before its loop has come to it; what comes later is refused.
Rule 2: the futures are `concurrent.futures.Future`. One that is cancelled cancels its task; a task that is cancelled
cancels its future.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bridgeio.checkpoints import begin
from bridgeio.contract import Task
from bridgeio.events import Event
from bridgeio.groups import create_task_group, name_of
from bridgeio.registry import current_task
from bridgeio.running import run
from bridgeio.scopes import CancelScope
from bridgeio.unpatched import forget_thread, get_ident, original

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["BlockingPortal", "BlockingPortalProvider", "start_blocking_portal"]

T = TypeVar("T")


class BlockingPortal:
    """Lets threads call functions in the run in which it was made, as long as its ``async with`` block lasts.

    The block ends when every task of the portal has ended. A task's exception goes to its future; one that is no
    `Exception`, such as KeyboardInterrupt, also ends the portal and the run.

    :raises NoBackendError: outside any run.
    """

    def __init__(self) -> None:
        self._host = current_task().host
        self._group = create_task_group()
        self._stopped = Event()
        self._posted: deque[_Posted] = deque()
        self._is_open = False

    async def __aenter__(self) -> BlockingPortal:
        await self._group.__aenter__()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            self._stop()
            return await self._group.__aexit__(kind, error, trace)
        finally:
            del error, trace  # the error may come out again, and its traceback holds this frame

    async def sleep_until_stopped(self) -> None:
        """Waits until somebody calls `stop`."""
        await self._stopped.wait()

    async def stop(self, cancel_remaining: bool = False) -> None:
        """Takes no more calls. To be called in the run, or as ``portal.call(portal.stop)``.

        :param cancel_remaining: cancels what still runs. Else the end of the block waits for it.
        """
        self._stop()
        if cancel_remaining:
            self._group.cancel_scope.cancel("the portal is being stopped")

    def call(self, func: Callable[..., Any], *args: object) -> Any:
        """Calls a function in the run, and returns its result or raises what it raised. From another thread.

        :param func: an async function, or a plain one.
        :raises RuntimeError: if the portal is not open, or in the run's own thread.
        """
        return _result_of(self.start_task_soon(func, *args))

    async def call_async(self, func: Callable[..., Any], *args: object, abandon_on_cancel: bool = False) -> Any:
        """`call` for a task of another run, which waits without a thread of its own.

        A cancel of the calling task cancels the one in the portal, and its end is waited for: then the cancellation
        is raised, or what that task has returned or raised all the same.

        :param abandon_on_cancel: a cancel ends the wait at once, and what comes of the other task is dropped.
        :raises RuntimeError: if the portal is not open, or in its own run.
        :raises concurrent.futures.CancelledError: if the task in the portal was cancelled there.
        """
        task = await begin()
        posted = self._post(func, args, {}, None)
        return await _Wait(task, posted, abandon_on_cancel).result()

    def start_task_soon(self, func: Callable[..., Any], *args: object, name: object = None) -> Future[Any]:
        """Calls a function in a task of the portal's, and returns a future at once. From another thread.

        The task runs in a copy of the calling thread's context. The errors are those of `call`.

        :param name: of the task, as for `TaskGroup.start_soon`.
        """
        return self._post(func, args, {}, name).future

    def start_task(self, func: Callable[..., Any], *args: object, name: object = None) -> tuple[Future[Any], Any]:
        """Starts an async function that takes ``task_status``, and waits until it says that it has started.

        From another thread. The errors are those of `call`, and what the function raises before.

        :returns: a future for its result, and what it gave to ``task_status.started``.
        :raises RuntimeError: if it ends without having said so.
        """
        status = _Status(_new_future())
        future = self._post(func, args, {"task_status": status}, name).future
        future.add_done_callback(status.ended)
        try:
            return future, status.future.result()
        except BaseException:
            future.cancel()
            raise

    def wrap_async_context_manager(self, cm: AbstractAsyncContextManager[T]) -> AbstractContextManager[T, bool]:
        """An async context manager for ``with`` in another thread. One task of the portal enters and leaves it."""
        return _Wrapped(self, cm)

    # In the other thread

    def _post(
        self, function: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object], name: object
    ) -> _Posted:
        self._check_caller()
        posted = _Posted(self._host.call_soon_threadsafe, partial(function, *args, **kwargs), name_of(function, name))
        self._posted.append(posted)
        if not self._is_open:  # looked at after, as its end goes through the posted ones after it has said so
            self._take_back(posted)
        try:
            self._host.call_soon_threadsafe(self._begin_posted)
        except RuntimeError:
            self._take_back(posted)
        return posted

    def _check_caller(self) -> None:
        if not self._is_open:
            raise _not_open()
        if self._host.admits(get_ident()):
            raise RuntimeError(
                "a portal was called in its run's own thread, which would wait for itself: call, or await, the "
                "function right there"
            )

    def _take_back(self, posted: _Posted) -> None:
        if posted.claim():  # else somebody has come to it
            raise _not_open()

    # In the run

    def _stop(self) -> None:
        self._is_open = False
        self._begin_posted()
        self._stopped.set()

    def _begin_posted(self) -> None:
        while self._posted:
            posted = self._posted.popleft()
            if not posted.claim():
                continue
            try:
                posted.context.run(partial(self._group.start_soon, posted.carry, name=posted.name))
            except BaseException as error:
                posted.settle(error=error)


class _Posted:
    """One call, and its future."""

    def __init__(self, call_soon: Callable[..., object], function: Callable[[], Any], name: str) -> None:
        self.future: Future[Any] = _new_future()
        self.context: Context = copy_context()
        self.name = name
        self._function: Callable[[], Any] | None = function
        self._call_soon = call_soon
        self._scope: CancelScope | None = None
        self._unclaimed = [True]
        self._unwanted = False

    def claim(self) -> bool:
        """Whether the caller is the first to ask; any thread may."""
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False

    async def carry(self) -> None:
        function, self._function = self._function, None
        if self.future.cancelled() or function is None:
            self.settle()
            return
        scope = self._scope = CancelScope()
        self.future.add_done_callback(self._done)
        if self._unwanted:
            self._cancel()
        try:
            with scope:
                result = function()
                if isawaitable(result):
                    result = await result
                self.settle(result)
                return
            self.settle(cancelled=True)
        except BaseException as error:
            is_cancellation = isinstance(error, current_task().host.cancelled_class)
            self.settle(error=error, cancelled=is_cancellation)
            if not isinstance(error, Exception):
                raise
        finally:
            self._scope = None

    def settle(self, result: object = None, *, error: BaseException | None = None, cancelled: bool = False) -> None:
        """Once. A future that was cancelled, which any thread may do at any moment, stays so."""
        future = self.future
        if cancelled:
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def cancel(self) -> None:
        """The task, which settles the future when it has ended. For any thread."""
        self._unwanted = True
        with suppress(RuntimeError):  # the run has ended, and with it the task
            self._call_soon(self._cancel)

    def _done(self, future: Future[Any]) -> None:
        if future.cancelled():
            self.cancel()

    def _cancel(self) -> None:
        if self._scope is not None:
            self._scope.cancel("its future was cancelled")


class _Wait:
    """A task's wait for what was posted into another run."""

    def __init__(self, task: Task, posted: _Posted, abandonable: bool) -> None:
        self._task = task
        self._posted = posted
        self._abandonable = abandonable
        self._settled = False

    async def result(self) -> Any:
        future = self._posted.future
        future.add_done_callback(self._tell)
        try:
            while not self._settled:
                await self._task.park(self._abort)
        except BaseException:
            future.cancel()
            raise
        if future.cancelled():
            await self._task.checkpoint_if_cancelled()
        return _result_of(future)

    def doing(self, abort: object) -> str:
        return "waiting for a call in another run"

    def _tell(self, future: Future[Any]) -> None:
        with suppress(RuntimeError):  # the run has ended: nobody waits
            self._task.host.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._settled = True
        if self._task.abort == self._abort:
            self._task.wake()

    def _abort(self) -> bool:
        if not self._abandonable:
            self._posted.cancel()
        return self._abandonable


class _Status:
    """The ``task_status`` of `BlockingPortal.start_task`."""

    def __init__(self, future: Future[Any]) -> None:
        self.future = future

    def started(self, value: object = None) -> None:
        if self.future.cancelled():  # who waited for it was interrupted
            return
        if self.future.done():
            raise RuntimeError("task_status.started() was called twice")
        self.future.set_result(value)

    def ended(self, task: Future[Any]) -> None:
        if self.future.done():
            return
        if task.cancelled():
            self.future.cancel()
            self.future.set_running_or_notify_cancel()
            return
        without = RuntimeError("the task has ended without calling task_status.started()")
        self.future.set_exception(task.exception() or without)


class _Wrapped(Generic[T]):
    """What `BlockingPortal.wrap_async_context_manager` returns."""

    def __init__(self, portal: BlockingPortal, manager: AbstractAsyncContextManager[T]) -> None:
        self._portal = portal
        self._manager = manager
        self._error: tuple[Any, Any, Any] = (None, None, None)

    def __enter__(self) -> T:
        self._end, value = self._portal.start_task(self._carry, name=name_of(type(self._manager)))
        entered: T = value
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._error = (kind, error, trace)
        try:
            with suppress(RuntimeError):  # the run has ended, and the block with it
                self._portal._host.call_soon_threadsafe(self._left.set)
            return bool(self._end.result())
        finally:
            self._error = (None, None, None)
            del error, trace

    async def _carry(self, *, task_status: Any) -> bool | None:
        self._left = Event()
        value = await self._manager.__aenter__()
        task_status.started(value)
        try:
            await self._left.wait()
        except BaseException as error:
            if not await self._manager.__aexit__(type(error), error, error.__traceback__):
                raise
            return None
        return await self._manager.__aexit__(*self._error)


class BlockingPortalProvider:
    """A portal that is there while anybody needs it: the first ``with`` block starts it, the last one ends it.

    For libraries that are called by several threads. The arguments are those of `start_blocking_portal`.
    """

    def __init__(self, backend: str = "asyncio", backend_options: Mapping[str, object] | None = None) -> None:
        self.backend = backend
        self.backend_options = backend_options
        self._lock = threading.Lock()
        self._leases = 0
        self._portal: BlockingPortal | None = None
        self._manager: AbstractContextManager[BlockingPortal] | None = None

    def __enter__(self) -> BlockingPortal:
        with self._lock:
            if self._portal is None:
                manager = start_blocking_portal(self.backend, self.backend_options)
                self._portal = manager.__enter__()
                self._manager = manager
            self._leases += 1
            return self._portal

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._leases -= 1
            if self._leases:
                return
            manager, self._manager, self._portal = self._manager, None, None
        if manager is not None:
            manager.__exit__(None, None, None)


@contextmanager
def start_blocking_portal(
    backend: str = "asyncio", backend_options: Mapping[str, object] | None = None, *, name: str | None = None
) -> Iterator[BlockingPortal]:
    """A ``with`` block with a run in a thread of its own, and the portal into it.

    At the end of the block the portal takes no more calls and its tasks are waited for; if an exception ends the
    block, they are cancelled first.

    :param backend: and ``backend_options``, as for `bridgeio.run`, whose errors this raises.
    :param name: of the thread.
    """
    opened, ended = _new_future(), _new_future()
    original("_thread", "start_new_thread")(_carry_portal, (backend, backend_options, name, opened, ended))
    cancel_remaining = True
    try:
        yield opened.result()
        cancel_remaining = False
    finally:
        if not opened.cancel() and opened.exception() is None:
            with suppress(RuntimeError):  # it has ended by itself
                opened.result().call(opened.result().stop, cancel_remaining)
        ended.result()


def _carry_portal(
    backend: str, options: Mapping[str, object] | None, name: str | None, opened: Future[Any], ended: Future[Any]
) -> None:
    async def carry() -> None:
        async with BlockingPortal() as portal:
            if opened.set_running_or_notify_cancel():  # nobody was interrupted while he waited for it
                opened.set_result(portal)
                await portal.sleep_until_stopped()

    try:
        if name is not None:
            threading.current_thread().name = name
        run(carry, backend=backend, backend_options=options)
    except BaseException as error:
        if not opened.done():
            opened.set_exception(error)  # later ones have gone to their futures
    finally:
        forget_thread()
        ended.set_result(None)


def _new_future() -> Future[Any]:
    from bridgeio.futures import ThreadFuture  # not cheap, and needed by few

    return ThreadFuture()


def _result_of(future: Future[Any]) -> Any:
    """Its result. Who is interrupted while he waits for it does not want it any more."""
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
    finally:
        del future  # whose exception's traceback holds this frame


def _not_open() -> RuntimeError:
    return RuntimeError("this portal is not open: enter it with `async with`, and call it before it is stopped")
