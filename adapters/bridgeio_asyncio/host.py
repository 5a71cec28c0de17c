"""An asyncio event loop as a `Host`."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from bridgeio.contract import CURRENT, Handle, Host, Scope
from bridgeio.unpatched import get_ident
from bridgeio_asyncio.adopted import AdoptedTask
from bridgeio_asyncio.generators import others_closed
from bridgeio_asyncio.task import SpawnedTask, start_by_factory

__all__ = ["AsyncioHost", "host_of"]

_ATTRIBUTE = "_bridgeio_host"


class AsyncioHost(Host):
    """Lives as long as its loop, which keeps it: a table keyed weakly by loops would keep a loop
    alive through the value, because a host needs its loop.

    :ivar ending: the main function of the run has ended; a task that began now might never take a step.
    """

    cancelled_class = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop, backend: str) -> None:
        self.loop = loop
        self.backend = backend
        self.ending = False
        self.tasks: dict[asyncio.Task[Any], SpawnedTask | AdoptedTask] = {}
        super().__init__(get_ident())
        self.clock = loop.time

    def now(self) -> float:
        return self.loop.time()

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        return self.loop.call_at(when, callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object:
        return self.loop.call_soon_threadsafe(callback)

    def admits(self, thread: int) -> bool:
        """The loop itself is asked where the threads differ: it may run in another one than before."""
        return thread == self.thread or asyncio._get_running_loop() is self.loop

    def has_gone(self) -> bool:
        return self.loop.is_closed()

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        return _Watch(self.loop, fd, on_readable, on_writable)

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> SpawnedTask:
        task = SpawnedTask(self, name, scope, coro)
        if self.loop.get_task_factory() is None:
            self.loop.create_task(task, name=name)
        else:
            start_by_factory(task)
        return task

    def spawn_visitor(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> SpawnedTask:
        if self.ending:
            raise RuntimeError("this run is ending")
        return self.spawn(coro, name, scope)

    def tasks_known(self) -> list[SpawnedTask | AdoptedTask]:
        """Without those that are done: whoever awaited one may go on before its callback has us forget it."""
        return [task for native, task in list(self.tasks.items()) if not native.done()]

    def adopt(self, native: asyncio.Task[Any]) -> SpawnedTask | AdoptedTask:
        """The record of a native task; the same one as long as the task lives."""
        known = self.tasks.get(native)
        if known is None:
            known = self.tasks[native] = AdoptedTask(self, native)
            native.add_done_callback(self.tasks.pop)
        CURRENT.set(known)
        return known

    def close(self) -> None:
        super().close()
        if getattr(self.loop, _ATTRIBUTE, None) is self:
            delattr(self.loop, _ATTRIBUTE)

    def close_with_loop(self) -> None:
        """Has the loop close this host when it shuts down.

        A loop has no hook for that, but `asyncio.run` and `asyncio.Runner` close the loop's
        asynchronous generators before the loop, and one of those can be ours: the last, for what the others
        do in a ``finally`` may wait in bridgeio.
        """
        self._closing = self._until_shutdown()
        with warnings.catch_warnings(), contextlib.suppress(StopIteration):
            # A generator's ``finally`` may be the first to call us, when the loop has begun to close them. It warns
            # that it will not close ours; what is opened as late as that goes with the host itself.
            warnings.simplefilter("ignore", ResourceWarning)
            self._closing.__anext__().send(None)

    async def _until_shutdown(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await others_closed()  # all are closed at once, and the cleanup of others may need this host
            self.close()


class _Watch:
    """``add_reader`` and ``add_writer`` as a handle."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        on_readable: Callable[[], object] | None,
        on_writable: Callable[[], object] | None,
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._reads = on_readable is not None
        self._writes = on_writable is not None
        if on_readable is not None:
            loop.add_reader(fd, on_readable)
        if on_writable is not None:
            loop.add_writer(fd, on_writable)

    def cancel(self) -> None:
        if not self._loop.is_closed():
            if self._reads:
                self._loop.remove_reader(self._fd)
            if self._writes:
                self._loop.remove_writer(self._fd)


def host_of(loop: asyncio.AbstractEventLoop, backend: str) -> AsyncioHost:
    """The host of a running loop, made at its first use."""
    host: AsyncioHost | None = getattr(loop, _ATTRIBUTE, None)
    if host is None:
        host = AsyncioHost(loop, backend)
        setattr(loop, _ATTRIBUTE, host)
        host.close_with_loop()
    return host
