"""A run on threads as a `Host`: one baton, and everything that may be touched only by its holder."""

from __future__ import annotations

import logging
import sys
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from bridgeio.contract import CURRENT, Handle, Host, OnExit, Scope, Timers, cancel
from bridgeio.unpatched import get_ident
from bridgeio_threads.attendant import Attendant
from bridgeio_threads.baton import Baton
from bridgeio_threads.lookout import Lookout, Watch
from bridgeio_threads.parking import Parking
from bridgeio_threads.task import Cancelled, ThreadTask, drive
from bridgeio_threads.workers import Job, Workers

__all__ = ["ThreadsHost"]

T = TypeVar("T")

logger = logging.getLogger("bridgeio.threads")


class ThreadsHost(Host):
    """Lives for one `bridgeio.run`, or as long as the process for all calls of `bridgeio.blocking`.

    :ivar tasks: the tasks that have not ended; the calls that a plain thread is making are one.
    :ivar due: when the earliest timer is due.
    :ivar closing: the run is over, its threads are to end.
    :ivar calling: the thread that makes a call of the host's, which belongs to no task; else 0.
    """

    backend = "threads"
    cancelled_class = Cancelled
    guarded = True

    def __init__(self) -> None:
        super().__init__()
        self.baton = Baton(self.report, self._see_to_the_lookout)
        self.lookout = Lookout(self)
        self.tasks: set[ThreadTask] = set()
        self.due: float | None = None
        self.closing = False
        self.main: ThreadTask | None = None
        self.workers = Workers(self)
        self.attendant = Attendant(self)
        self.timers = Timers(self.now, self._set_alarm)
        self.generator_hooks = (self._note_generator, self._finalize_generator)
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._dropped: deque[AsyncGenerator[Any, Any]] = deque()
        self._parkings: list[Parking] = []
        self._children = 0
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
        self.baton.call_soon(partial(self._called_soon, callback))
        return None

    def admits(self, thread: int) -> bool:
        """Only who holds the baton: a task, also where its context does not tell, or who calls for the host."""
        return thread == self.calling or any(task.thread == thread for task in list(self.tasks))

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        return Watch(self.lookout, fd, on_readable, on_writable)

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> ThreadTask:
        return self._spawn(coro, name, scope, copy_context())

    def spawn_visitor(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> ThreadTask:
        if self._joining:
            raise RuntimeError("this run on threads is ending")
        return self.spawn(coro, name, scope)

    def tasks_known(self) -> list[ThreadTask]:
        return list(self.tasks)

    async def look_up(self, question: Callable[[], T]) -> T:
        """In place where nobody could cancel it, so that a sequential client needs no thread."""
        task = CURRENT.get()
        assert task is not None
        await task.checkpoint_if_cancelled()
        if len(self.tasks) > 1 or len(self.timers):
            return await super().look_up(question)
        with self.blocking_section():
            return question()

    async def start_process(self, arguments: Mapping[str, Any], on_exit: OnExit) -> int:
        """Its status is collected also while no task waits."""

        def ended(code: int | None) -> None:
            self._children -= 1
            on_exit(code)

        number = await super().start_process(arguments, ended)
        self._children += 1
        return number

    @contextmanager
    def signal_bell(self) -> Iterator[int | None]:
        """Another thread may be on the lookout, and Python runs handlers in this one."""
        task = CURRENT.get()
        assert isinstance(task, ThreadTask)
        lookout = self.lookout
        before, lookout.listener = lookout.listener, task.parking
        try:
            yield lookout.bell.writer
        finally:
            lookout.listener = before

    @contextmanager
    def blocking_section(self) -> Iterator[None]:
        task = CURRENT.get()
        assert isinstance(task, ThreadTask)
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
        self.lookout.close()
        for parking in self._parkings:
            parking.close()

    # Waiting for what no task waits for

    def needs_attendant(self) -> bool:
        """Whether there is something to wait for, and nobody whose turn it is, or could be."""
        return self.lookout.keeper is None and self._parked() is None and self._is_owed()

    def _is_owed(self) -> bool:
        """Whether there is something to wait for; nobody keeps the lookout."""
        if self.baton.queue or self.closing:
            return False
        watched = self.lookout.watched - isinstance(self._watched, Watch)  # the poller's own alone is for who parks
        return bool(self.unflushed or self._children or watched or (self.due is not None and self.tasks))

    def _see_to_the_lookout(self) -> None:
        """The baton becomes free; see rule 3 of the lookout."""
        if self.lookout.keeper is None:
            parked = self._parked()
            if parked is not None:
                parked.rouse()
            elif self._is_owed():
                self.attendant.call()

    def _parked(self) -> Parking | None:
        """Where one of the tasks waits; usually the first that is asked does."""
        for task in self.tasks:
            if task.abort is not None and task.parking.asleep:
                return task.parking
        return None

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

    def _called_soon(self, callback: Callable[[], object]) -> None:
        """It may ask for itself again: such calls are turns like those of tasks, and keep no descriptor waiting."""
        self.call_here(callback)
        self.lookout.look_in_between()

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
        parking = self._parkings.pop() if self._parkings else Parking(self.baton, self.lookout)
        try:
            self.baton.take(parking.gate)
        except BaseException:
            self.baton.drop()
            raise
        try:
            yield parking
        finally:
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
            task.park(self._hurry_the_last)
        self.closing = True
        self.attendant.end()
        self.workers.end_idle()
        task.end()
        self._leaving = task.parking
        while self.workers.alive:
            try:
                task.parking.rest()
            except BaseException as error:
                task.strike(error)

    def _hurry_the_last(self) -> bool:
        """Ctrl-C: tasks that belong to no group, such as a generator's end, are cancelled, and waited for all the
        same."""
        for task in list(self.tasks):
            if task is not self.main:
                scope = task.scope
                while scope.parent is not None:
                    scope = scope.parent
                cancel(scope)
        return False

    def thread_ended(self) -> None:
        if not self.workers.alive and self._leaving is not None:
            self._leaving.rouse()

    def forked(self) -> None:
        """This is the child: only the calling thread has come along."""
        me = get_ident()
        mine = {task for task in self.tasks if task is CURRENT.get()}
        self.calling = me if self.calling == me else 0
        self.baton.forget_others(held=self.calling == me or any(task.thread == me for task in mine))
        self.workers.forget()
        self.attendant.forget()
        for task in self.tasks - mine:
            task.forget()
        self.tasks = mine
        for task in mine:
            task.parking.renew()
        self.lookout.renew({task.parking for task in mine})
        self._poller = self._watched = None
        self._parkings.clear()
        self._children = 0
        self.unflushed.clear()

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

    def _discard(self, task: ThreadTask) -> None:
        self.tasks.discard(task)
        if len(self.tasks) <= 1 and self._joining and self.main is not None:
            self.main.wake()

    # Timers and asynchronous generators

    def _set_alarm(self, when: float, run_due: Callable[[], None]) -> Handle:
        self.due = when
        self.lookout.expect(when)
        return _Alarm(self)

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
