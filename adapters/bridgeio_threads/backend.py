"""Starting a run on threads, and lending one to synchronous code."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context, copy_context
from typing import Any, TypeVar

from bridgeio.contract import CURRENT, Backend, Main, Scope, Task
from bridgeio.errors import BackendBusyError, NoBackendError
from bridgeio.options import check_options
from bridgeio.unpatched import get_ident, original
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.interrupts import InterruptsStrike, signals_ring
from bridgeio_threads.task import ThreadTask, drive

__all__ = ["ThreadsBackend"]

T = TypeVar("T")


class ThreadsBackend(Backend):
    """One run for each `bridgeio.run`, and one more that all calls of `bridgeio.blocking` share."""

    name = "threads"

    def __init__(self) -> None:
        self._hosts: weakref.WeakSet[ThreadsHost] = weakref.WeakSet()
        self._lock = original("_thread", "allocate_lock")()
        self._shared: ThreadsHost | None = None
        self._local = original("_thread", "_local")()
        os.register_at_fork(after_in_child=self._forked)
        atexit.register(self._flush_shared)

    def run(self, main: Main[T], options: Mapping[str, object]) -> T:
        check_options(self.name, options, "baton")
        _check_baton(**options)
        if _running_task() is not None:
            raise BackendBusyError("a threads run is going on in this thread: await the function instead")
        host = self._new_host()
        task = host.main = ThreadTask(host, "main", Scope())
        context = copy_context()
        context.run(CURRENT.set, task)
        try:
            return _run_main(host, task, context, main)
        finally:
            host.close()

    def current_task(self) -> Task:
        raise NoBackendError("a plain thread is no task: call bridgeio.blocking(function) in it")

    def block(self, coro: Coroutine[Any, Any, T]) -> T:
        if _running_task() is not None:
            return drive(coro)
        with InterruptsStrike() as interrupts:
            task = self._visitor()
            with task.host.entered(task):
                interrupts.begin(task)
                token = CURRENT.set(task)
                task.coro = coro
                try:
                    return drive(coro)
                finally:
                    task.coro = None
                    CURRENT.reset(token)
                    interrupts.end()

    def versions(self) -> dict[str, str]:
        import platform  # slow to import, and seldom asked for

        return {"threads": platform.python_version()}

    def _new_host(self) -> ThreadsHost:
        host = ThreadsHost()
        self._hosts.add(host)
        return host

    def _visitor(self) -> ThreadTask:
        """The calling thread's task in the shared run: the same for all its calls, so that a scope may
        be entered by one and left by another."""
        with self._lock:
            if self._shared is None:
                self._shared = self._new_host()
            host = self._shared
        task: ThreadTask | None = getattr(self._local, "task", None)
        if task is None or task.host is not host:
            task = self._local.task = ThreadTask(host, f"blocking calls of thread {get_ident()}", Scope())
        return task

    def _flush_shared(self) -> None:
        """What was closed and not yet sent goes out before the process ends, or its linger does."""
        if self._shared is not None and self._shared.lingering:
            self.block(_flush(self._shared))

    def _forked(self) -> None:
        self._shared = None
        self._lock = original("_thread", "allocate_lock")()
        for host in list(self._hosts):
            host.forked()


def _run_main(host: ThreadsHost, task: ThreadTask, context: Context, main: Main[T]) -> T:
    with InterruptsStrike() as interrupts, host.entered(task), signals_ring(host, task):
        interrupts.begin(task)
        try:
            return context.run(_drive_main, main)
        finally:
            context.run(host.finish, task)
            interrupts.end()


def _drive_main(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return drive(main())


async def _flush(host: ThreadsHost) -> None:
    while host.lingering:
        await next(iter(host.lingering)).wait_flushed()


def _running_task() -> ThreadTask | None:
    task = CURRENT.get()
    return task if isinstance(task, ThreadTask) and task.thread == get_ident() else None


def _check_baton(*, baton: object = True) -> None:
    if baton is not True:
        raise ValueError(
            f"the threads backend cannot run with baton={baton!r}: scopes, events and writers would lose wake-ups "
            "and bytes; put what may run in parallel inside bridgeio.lowlevel.blocking_section()"
        )
