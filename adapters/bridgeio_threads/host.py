"""A run on threads as a `Host`: one baton, and everything that may be touched only by its holder."""

from __future__ import annotations

import logging
import sys
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from bridgeio.contract import CURRENT, Handle, Host, Poller, Scope, Timers, never
from bridgeio.unpatched import get_ident
from bridgeio_threads.attendant import Attendant, Watch
from bridgeio_threads.baton import Baton
from bridgeio_threads.parking import Parking
from bridgeio_threads.poller import ThreadsPoller
from bridgeio_threads.task import Cancelled, ThreadTask, drive
from bridgeio_threads.workers import Job, Workers

__all__ = ["ThreadsHost"]

T = TypeVar("T")

logger = logging.getLogger("bridgeio.threads")


class ThreadsHost(Host):
    """Lives for one `bridgeio.run`, or as long as the process for all calls of `bridgeio.blocking`.

    :ivar tasks: the tasks that have not ended; the calls that a plain thread is making are one.
    :ivar due: when the earliest timer is due.
    :ivar unserved: there may be a timer, or bytes left over, that nobody waits for yet: who parks
        next has to look.
    :ivar closing: the run is over, its threads are to end.
    :ivar calling: the thread that makes a call of the host's, which belongs to no task; else 0.
    """

    backend = "threads"
    cancelled_class = Cancelled
    guarded = True

    def __init__(self) -> None:
        super().__init__()
        self.baton = Baton(self.report)
        self.tasks: set[ThreadTask] = set()
        self.due: float | None = None
        self.unserved = False
        self.closing = False
        self.main: ThreadTask | None = None
        self.sockets = ThreadsPoller(self)
        self.workers = Workers(self)
        self.attendant = Attendant(self)
        self.timers = Timers(self.now, self._set_alarm)
        self.generator_hooks = (self._note_generator, self._finalize_generator)
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._dropped: deque[AsyncGenerator[Any, Any]] = deque()
        self._parkings: list[Parking] = []
        self.calling = 0
        self._joining = False
        self._leaving: Parking | None = None

    # The contract

    def now(self) -> float:
        return time.monotonic()

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        return self.timers.add(when, callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object:
        if self.closing:
            raise RuntimeError("this run on threads has ended")
        self.baton.call_soon(partial(self.call_here, callback))
        return None

    def admits(self, thread: int) -> bool:
        """Only who holds the baton: a task, also where its context does not tell, or who calls for the host."""
        return thread == self.calling or any(task.thread == thread for task in list(self.tasks))

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        watch = Watch(self.attendant, fd, on_readable, on_writable)
        if not self.attendant.attend():
            watch.cancel()
            raise RuntimeError("the system refuses the thread that a watch on the threads backend needs")
        return watch

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> ThreadTask:
        return self._spawn(coro, name, scope, copy_context())

    def spawn_visitor(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> ThreadTask:
        if self._joining:
            raise RuntimeError("this run on threads is ending")
        return self.spawn(coro, name, scope)

    def tasks_known(self) -> list[ThreadTask]:
        return list(self.tasks)

    def poller(self) -> Poller:
        return self.sockets

    async def look_up(self, question: Callable[[], T]) -> T:
        """In place where nobody could cancel it, so that a sequential client needs no thread."""
        task = CURRENT.get()
        assert task is not None
        await task.checkpoint_if_cancelled()
        if len(self.tasks) > 1 or len(self.timers):
            return await super().look_up(question)
        with self.blocking_section():
            return question()

    @contextmanager
    def signal_bell(self) -> Iterator[int | None]:
        """The task's own: a watch is polled by the attendant, who may not run Python's handlers."""
        task = CURRENT.get()
        assert isinstance(task, ThreadTask)
        with task.parking.listening() as fd:
            yield fd

    @contextmanager
    def blocking_section(self) -> Iterator[None]:
        task = CURRENT.get()
        assert isinstance(task, ThreadTask)
        self.leave()
        task.end()
        self.baton.drop()
        try:
            yield
        finally:
            try:
                self.baton.take(task.parking.gate)
            finally:
                task.begin()

    def call_guarded(self, function: Callable[..., T], *args: Any) -> T:
        task = CURRENT.get()
        if (task is not None and task.thread == get_ident()) or self.calling == get_ident():
            return function(*args)
        with self.visited():
            return function(*args)

    def close(self) -> None:
        super().close()
        self.sockets.end()
        for parking in self._parkings:
            parking.close()

    # Waiting for what no task waits for

    def serve(self, task: ThreadTask) -> float | None:
        """The task is about to park. Adds to its arms what it has to poll for others.

        :returns: the seconds after which timers are due, if they are this task's business.
        """
        self.sockets.covered_by(task)
        if self._is_served():
            self.unserved = False
            return None
        if (len(self.tasks) > 1 or self.attendant.running) and self.attendant.attend():
            self.unserved = False
            return None
        task.arms += self.sockets.given_to(task)
        return self.until_due()

    def leave(self) -> None:
        """The caller will not wait here for now: what nobody else waits for is the attendant's."""
        if self.unserved and (self.tasks or self.sockets.wanted) and not self._is_served():
            self.unserved = not self.attendant.attend()

    def until_due(self) -> float | None:
        return None if self.due is None else max(0.0, self.due - self.now())

    def run_due(self) -> None:
        if self.due is not None and self.due <= self.now():
            self.call_here(self.timers.run_due)

    def call_here(self, callback: Callable[[], object]) -> None:
        """Makes a call that belongs to no task; the caller holds the baton."""
        before, self.calling = self.calling, get_ident()
        try:
            callback()
        except BaseException as error:
            self.report(error)
        finally:
            self.calling = before

    def report(self, error: BaseException) -> None:
        """What came out of a callback, or out of a task's last frame."""
        if self.main is not None and not isinstance(error, Exception):
            self.main.strike(error)
        else:
            logger.error("a callback or a task on threads failed", exc_info=error)

    # Threads

    @contextmanager
    def visited(self) -> Iterator[Parking]:
        """A thread that is not ours holds the baton for a while."""
        parking = self._parkings.pop() if self._parkings else Parking(self.baton)
        parking.open()
        try:
            self.baton.take(parking.gate)
        except BaseException:
            self.baton.drop()
            raise
        try:
            yield parking
        finally:
            self.leave()
            self._parkings.append(parking)
            self.baton.drop()

    @contextmanager
    def entered(self, task: ThreadTask) -> Iterator[None]:
        """A thread that is not ours runs a task for a while."""
        with self.visited() as task.parking:
            hooks = sys.get_asyncgen_hooks()
            sys.set_asyncgen_hooks(*self.generator_hooks)
            self.tasks.add(task)
            self.run_due()
            task.begin()
            try:
                yield
            finally:
                task.end()
                self._discard(task)
                sys.set_asyncgen_hooks(*hooks)

    def finish(self, task: ThreadTask) -> None:
        """The end of a run, in its main task: generators are closed, and every thread ends."""
        drive(self._close_generators())
        self._joining = True
        while len(self.tasks) > 1:
            task.park(never)
        self.closing = True
        self.attendant.look_again()
        self.workers.end_idle()
        task.end()
        self._leaving = task.parking
        while self.workers.alive:
            try:
                task.parking.rest()
            except BaseException as error:
                task.strike(error)

    def thread_ended(self) -> None:
        if not self.workers.alive and self._leaving is not None:
            self._leaving.rouse()

    def forked(self) -> None:
        """This is the child: only the calling thread has come along."""
        self.baton.forget_others()
        self.workers.forget()
        self.attendant.forget()
        self._parkings.clear()
        task = CURRENT.get()
        if isinstance(task, ThreadTask) and task.host is self:
            task.parking.renew()

    def _spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope, context: Context) -> ThreadTask:
        task = ThreadTask(self, name, scope)
        context.run(CURRENT.set, task)

        def job_with(parking: Parking) -> Job:
            task.parking = parking
            return partial(self._carry, task, coro, context)

        self.workers.start(job_with)
        self.tasks.add(task)
        return task

    def _carry(self, task: ThreadTask, coro: Coroutine[Any, Any, object], context: Context) -> None:
        task.begin()
        try:
            context.run(drive, coro)
        except Cancelled:
            pass
        except BaseException as error:
            self.report(error)
        finally:
            task.end()
            self._discard(task)
            self.leave()

    def _discard(self, task: ThreadTask) -> None:
        self.tasks.discard(task)
        if len(self.tasks) <= 1:
            self.attendant.look_again()
            if self._joining and self.main is not None:
                self.main.wake()

    # Timers and asynchronous generators

    def _set_alarm(self, when: float, run_due: Callable[[], None]) -> Handle:
        self.due = when
        if self.attendant.running:
            self.attendant.expect(when)
        else:
            self.unserved = True
        return _Alarm(self)

    def _is_served(self) -> bool:
        return self.due is None and all(self.sockets.wanted.values())

    def _note_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators.add(generator)

    def _finalize_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Called by the collector, in the midst of anything."""
        with suppress(RuntimeError):
            self._dropped.append(generator)
            self.call_soon_threadsafe(self._close_dropped)

    def _close_dropped(self) -> None:
        """Each in a task of its own, unless the end of the run has come first."""
        while self._dropped:
            closing = _close(self._dropped.popleft())
            try:
                self._spawn(closing, "an asynchronous generator's end", Scope(), Context())
            except BaseException:
                closing.close()
                raise

    async def _close_generators(self) -> None:
        while generators := [*self._generators, *self._dropped]:
            self._generators.clear()
            self._dropped.clear()
            for generator in generators:
                try:
                    await generator.aclose()
                except BaseException as error:
                    self.report(error)


class _Alarm:
    """The handle of the one timer that `Timers` asks for."""

    def __init__(self, host: ThreadsHost) -> None:
        self._host = host

    def cancel(self) -> None:
        self._host.due = None


async def _close(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()
