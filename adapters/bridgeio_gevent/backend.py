"""Starting gevent, and finding it running."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import copy_context
from inspect import iscoroutine
from types import FrameType
from typing import Any, TypeVar

import gevent
from greenlet import getcurrent, greenlet

from bridgeio.contract import CURRENT, Backend, Main, Scope
from bridgeio.errors import BackendBusyError, NoBackendError
from bridgeio.options import check_options
from bridgeio_gevent import in_gevent
from bridgeio_gevent.host import host_of
from bridgeio_gevent.task import GeventTask, TaskGreenlet, carried_by, carry_nothing, drive, steps

__all__ = ["GeventBackend", "spawn_greenlet"]

T = TypeVar("T")


class GeventBackend(Backend):
    name = "gevent"

    def run(self, main: Main[T], options: Mapping[str, object]) -> T:
        """In the calling greenlet, which may be one of many in an application that runs already."""
        check_options(self.name, options)
        inside = getcurrent()
        carried = carried_by(inside)
        if carried is not None and carried.driven:
            raise BackendBusyError("this is a task on gevent already: await the function instead")
        ours = not in_gevent()
        hub = gevent.get_hub()
        if inside is hub:
            raise BackendBusyError("a callback of gevent's hub cannot wait for a run: spawn a greenlet")
        return copy_context().run(_Run(hub, ours).through, inside, main)

    def current_task(self) -> GeventTask:
        hub = gevent.get_hub()
        inside = getcurrent()
        if inside is hub:
            raise NoBackendError("a callback of gevent's hub cannot wait: call bridgeio from a greenlet")
        return host_of(hub).adopt(inside)

    def block(self, coro: Coroutine[Any, Any, T]) -> T:
        try:
            task = self.current_task()
        except NoBackendError:
            coro.close()
            raise
        if not task.driven:
            try:
                return drive(task, coro)
            finally:
                task.host.corked.uncork_all()  # the hub may have no turn any more, though a run waits for one
        current = CURRENT.set(task)  # the caller may have entered a context of its own
        try:
            return steps(coro)
        finally:
            CURRENT.reset(current)

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version  # slow to import, and seldom asked for

        return {"gevent": version("gevent"), "greenlet": version("greenlet")}


class _Run:
    """One `Backend.run`.

    :ivar ours: the hub was made for this run, so it, and all that it carries, ends with it.
    """

    def __init__(self, hub: Any, ours: bool) -> None:
        self.hub = hub
        self.ours = ours
        self.host = host_of(hub)

    def through(self, inside: greenlet, main: Main[T]) -> T:
        task, before = GeventTask(self.host, "main", Scope()), carried_by(inside)
        self.host.runs += 1
        try:
            task.carry_in(inside)
            with _ctrl_c_ends(task, inside):
                return drive(task, self._whole(task, main))
        finally:
            self.host.runs -= 1
            if before is not None:
                before.carry_in(inside)
            else:
                carry_nothing(inside)
            self._close()

    async def _whole(self, task: GeventTask, main: Main[T]) -> T:
        try:
            return await main()
        finally:
            if self.ours or self._is_last():
                await self.host.end_all_but(task, cancelling=self.ours)

    def _is_last(self) -> bool:
        return self.host.runs == 1 and not self.host.shared

    def _close(self) -> None:
        if self.ours:
            self.host.close()
            self.hub.destroy()
        elif not self.host.runs and not self.host.shared:
            self.host.close()


def spawn_greenlet(async_fn: Callable[..., Coroutine[Any, Any, Any]], args: tuple[Any, ...]) -> TaskGreenlet:
    """The body of `bridgeio_gevent.spawn`."""
    coro = _made_by(async_fn, args)
    host = host_of(gevent.get_hub())
    host.shared = True
    task = GeventTask(host, getattr(async_fn, "__qualname__", repr(async_fn)), Scope())
    carrier = TaskGreenlet(task, coro)
    carrier.start()
    return carrier


def _made_by(function: Any, args: tuple[Any, ...]) -> Coroutine[Any, Any, Any]:
    if iscoroutine(function):
        function.close()
        raise TypeError("spawn() takes the async function itself, and its arguments after it: leave out the ()")
    coro = function(*args)
    if not iscoroutine(coro):
        raise TypeError(f"{function!r} is no async function: calling it gave {type(coro).__name__}, not a coroutine")
    return coro


@contextlib.contextmanager
def _ctrl_c_ends(task: GeventTask, inside: greenlet) -> Iterator[None]:
    """Has the first Ctrl-C throw KeyboardInterrupt into a run in the main greenlet, where it waits.

    Python's own handler raises it between any two steps of anything: of a task that is to be woken, of
    cleanup that is half done. It is that handler's turn at the second Ctrl-C, if the first does not help.
    """
    host = task.host
    if inside is not host.hub.parent or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def interrupt() -> None:
        if task.driven:
            greenlet.throw(inside, KeyboardInterrupt())

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        host.call_soon_threadsafe(interrupt)

    is_set = False
    try:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, on_signal)
            is_set = True
        yield
    finally:
        if is_set and signal.getsignal(signal.SIGINT) is on_signal:
            signal.signal(signal.SIGINT, signal.default_int_handler)
