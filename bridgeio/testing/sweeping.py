"""A cancel at every wait of a piece of code: one run for each, and a look at what each has lost.

Rule 1: the swept code runs again and again, each time in a world made anew, and is cancelled at its
first, second, third wait, until a run ends before the cancel's turn has come.
Rule 2: tasks that the swept code starts belong to it, and their waits are counted with its own; what
the world around it has started does not.
Rule 3: a cancel meets a wait in several ways (`Moment`), and each has a sweep of its own.
Rule 4: after each run the world says whether anything was lost; that descriptors, tasks and timers are
no more than before is looked at here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import partial
from inspect import isgenerator
from types import coroutine
from typing import Any

import bridgeio
from bridgeio.contract import Host, Scope, Task
from bridgeio.registry import current_host, current_task
from bridgeio.testing.observing import Abort, Observer, observed
from bridgeio.testing.places import frames_of, functions_called, words_for
from bridgeio.testing.resources import open_descriptors, unchanged

__all__ = ["Moment", "Operation", "Swept", "World", "sweep", "sweeps_done"]

Operation = Callable[[], Coroutine[Any, Any, object]]
World = Callable[[], AbstractAsyncContextManager[Operation]]

MOST_WAITS = 200  # of one operation; beyond that it is taken for one that never ends
PATIENCE = 30.0  # seconds for one run; a machine may stand still for longer than it takes
LEFTOVERS_GO = 5.0  # seconds in which what a run has left behind goes away, or counts as left behind for good

logger = logging.getLogger("bridgeio.testing")


class Moment(Enum):
    """When a cancel comes."""

    FIRST = "before its first step"
    WAITING = "while it waits"
    BEFORE = "in the turn of the result, just before that"
    AFTER = "in the turn of the result, just after that"
    YIELDING = "while it gives way after its work"
    NATIVE = "while it waits in an awaitable of the framework's"


_KINDS = {Moment.BEFORE: Moment.WAITING, Moment.AFTER: Moment.WAITING}  # which waits are counted, if not its own


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has done.

    :ivar waits: how many times a cancel met a wait.
    :ivar runs: how many times the operation ran, the first one without a cancel included.
    :ivar functions: those of bridgeio that the operation called, and in which a cancel met a wait; each with its
        module before its name.
    """

    operation: str
    backend: str
    waits: int
    runs: int
    functions: tuple[str, ...] = ()


_done: list[Swept] = []


def sweeps_done() -> list[Swept]:
    """The sweeps of this process that found nothing, since the last time that somebody asked."""
    done = _done.copy()
    _done.clear()
    return done


async def sweep(world: World, *, name: str = "", moments: Iterable[Moment] = Moment) -> Swept:
    """Runs an operation again and again, and cancels it at each of its waits in turn.

    ``world`` is an async context manager, entered anew for each run. It prepares what the operation
    needs, yields the operation (an async function without arguments), and then says, by assertions,
    whether anything was lost; by then the operation has been cancelled, or it has finished::

        @asynccontextmanager
        async def a_line():
            async with peer_stream() as (reader, writer, peer):
                peer.send(b"hello\\n")
                got = []

                async def operation():
                    got.append(await reader.readline())

                yield operation
                if not got:  # it was cancelled: then the line must still be there
                    got.append(await reader.readline())
                assert got == [b"hello\\n"]

        @pytest.mark.bridgeio
        async def test_no_line_is_lost():
            await sweep(a_line)

    The operation has to end by itself in a run without a cancel, and what it awaits may be done by
    tasks that the world has started. A wait in an awaitable of the framework's own has one moment, as it
    begins, and counts where an adapter can tell it: not on Trio, which has all its waits to itself (a group's
    for its children, too, who are swept themselves), not on threads, where nothing ends such a call, and not
    in tasks that asyncio has started. One sweep at a time in a process.

    :param name: for messages; by default the world's own.
    :raises AssertionError: naming the wait, if a run failed, lost or left something, or did not end.
    :raises RuntimeError: if another sweep is running.
    """
    sweeping = _Sweeping(world, name or getattr(world, "__name__", repr(world)))
    with observed(sweeping):
        await sweeping.run(None, 0)
        async with unchanged():
            sweeping.books = _Books.of(current_host())
            for moment in moments:
                await sweeping.sweep(moment)
    functions = tuple(sorted(sweeping.functions))
    swept = Swept(sweeping.name, bridgeio.current_backend(), sweeping.waits, sweeping.runs, functions)
    _done.append(swept)
    return swept


class _Run:
    """One run: which wait is to be cancelled, and what came of that.

    :ivar came: when the cancel came, if that is not when it was to come.
    :ivar seen: how many waits there were so far.
    :ivar met: whether the cancel met the wait that it was meant for.
    :ivar target: the task in that wait, until the cancel comes.
    :ivar functions: those of bridgeio that led there.
    """

    def __init__(self, moment: Moment | None, number: int) -> None:
        self.moment = moment
        self.came = moment
        self.number = number
        self.scope = bridgeio.CancelScope()
        self.seen = 0
        self.met = False
        self.target: Task | None = None
        self.where = ""
        self.functions: list[str] = []
        self.error: BaseException | None = None

    async def carry(self, operation: Operation) -> None:
        token = _RUN.set(self)
        try:
            with self.scope:
                if self.moment is Moment.FIRST:
                    self.cancel()
                self.starve(current_task())
                await operation()
        finally:
            _RUN.reset(token)
        if self.error is not None:
            raise self.error

    def is_meant(self, kind: Moment, task: Task) -> bool:
        """Counts a wait of the kind that this run is about; whether it is the one to be cancelled."""
        if self.moment is None or _KINDS.get(self.moment, self.moment) is not kind:
            return False
        self.seen += 1
        if self.seen != self.number:
            return False
        frames = frames_of(task.coro)
        self.where = words_for(frames)
        self.functions = functions_called(frames)
        return True

    def has(self, task: Task) -> bool:
        """Whether it is one of the operation's: told by the tree, for those who are not in the task's context."""
        node: Scope | None = task.scope
        while node is not None and node is not self.scope:
            node = node.parent
        return node is not None

    def cancel(self) -> None:
        """An error here is the library's: it would be lost in the stack of whoever wakes the task."""
        self.met = True
        try:
            self.scope.cancel_here("a sweep")  # on threads whoever wakes the task may be no task of the run
        except BaseException as error:
            self.error = error

    def cancel_waiting(self, task: Task) -> None:
        """Unless the result was faster: then `_Sweeping.wake` has seen to it."""
        if self.target is task:
            self.target = None
            self.cancel()

    def starve(self, task: Task) -> None:
        """Has each operation give way once it is done."""
        if self.moment is Moment.YIELDING:
            task.budget = 1

    def __str__(self) -> str:
        if self.came is None:
            return "not cancelled at all"
        if self.came is Moment.FIRST:
            return f"cancelled {self.came.value}"
        where = f" ({self.where})" if self.where else ""
        return f"cancelled {self.came.value}, at wait {self.number}{where}"


_RUN: ContextVar[_Run | None] = ContextVar("bridgeio_swept_run", default=None)


class _Sweeping(Observer):
    """One sweep of one operation. Tasks of it are known by their context, which children inherit."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.waits = 0
        self.runs = 0
        self.functions: set[str] = set()
        self.books: _Books | None = None
        self._world = world
        self._host = current_host()
        self._now = _Run(None, 0)

    async def sweep(self, moment: Moment) -> None:
        for number in range(1, MOST_WAITS + 1):
            run = await self.run(moment, number)
            if moment is Moment.FIRST:
                self._check(run, run.scope.cancelled_caught, "it went on as if it had not been cancelled")
                return
            if run.met:
                self.waits += 1
                self.functions.update(run.functions)
            if run.seen < number:
                return
        raise AssertionError(f"{self.name} does not come to an end: it has waited {MOST_WAITS} times")

    async def run(self, moment: Moment | None, number: int) -> _Run:
        self._now = run = _Run(moment, number)
        self.runs += 1
        alarm = current_host().timers.add(bridgeio.current_time() + PATIENCE, partial(self._complain, run))
        try:
            with bridgeio.fail_after(PATIENCE):
                async with self._world() as operation:
                    await run.carry(operation)
        except Exception as error:
            raise AssertionError(f"{self.name}, {run}: {_words(error)}") from error
        finally:
            alarm.cancel()
        if self.books is not None:
            self._check(run, *await self.books.balance())
        return run

    def _check(self, run: _Run, holds: bool, otherwise: str) -> None:
        if not holds:
            raise AssertionError(f"{self.name}, {run}: {otherwise}")

    def _complain(self, run: _Run) -> None:
        """For a run that hears of no cancel: the test's own deadline ends it, and shows what was logged."""
        logger.error("%s, %s: it has not ended after %s seconds", self.name, run, PATIENCE)

    def _run_of(self, task: Task) -> _Run | None:
        """A task of another host, in another thread, may have got the context, and is none of the operation's."""
        run = _RUN.get()
        return run if run is self._now and task.host is self._host else None

    # What the observer sees

    def park(self, task: Task, abort: Abort, go_on: Callable[[Task, Abort], Any]) -> Any:
        run = self._run_of(task)
        if run is None:
            return go_on(task, abort)
        if run.is_meant(Moment.WAITING, task):
            run.target = task
            if run.moment is Moment.WAITING:
                task.host.call_soon_threadsafe(partial(run.cancel_waiting, task))
        return self._then_starve(run, task, go_on(task, abort))

    def give_way(self, task: Task, go_on: Callable[[Task], Any]) -> Any:
        """What a cancel during this finds is what it finds just before: the task cannot be woken."""
        run = self._run_of(task)
        if run is None:
            return go_on(task)
        if run.is_meant(Moment.YIELDING, task):
            run.cancel()
        return self._then_starve(run, task, go_on(task))

    def enter_native_wait(self, task: Task, go_on: Callable[[Task], None]) -> None:
        """Of a cancel that comes later the framework would see just the same."""
        go_on(task)
        run = self._now
        if run.has(task) and run.is_meant(Moment.NATIVE, task):
            run.cancel()

    def wake(self, task: Task, go_on: Callable[[Task], None]) -> None:
        run = self._now
        if run.target is not task or task.abort is None:
            go_on(task)
            return
        run.target = None
        if run.moment is Moment.WAITING:
            run.came = Moment.BEFORE
        if run.moment is Moment.AFTER:
            task.wake()  # not wake_now, under which the task would be gone on by now
            run.cancel()
        else:
            if not task.failing:  # else this wakes it for another cancel, and nothing comes before that
                run.cancel()
            go_on(task)

    def _then_starve(self, run: _Run, task: Task, waiting: Any) -> Any:
        return _starved(run, task, waiting) if run.moment is Moment.YIELDING else waiting


@coroutine
def _starved(run: _Run, task: Task, waiting: Any) -> Generator[Any, Any, None]:
    """A generator, as adapters' own waits are: they may be resumed by one."""
    yield from waiting if isgenerator(waiting) else waiting.__await__()
    run.starve(task)


@dataclass(frozen=True, slots=True)
class _Books:
    """What the run's host and process hold between two runs of an operation."""

    host: Host
    descriptors: frozenset[str]
    counts: dict[str, int]

    @classmethod
    def of(cls, host: Host) -> _Books:
        counts = {
            "tasks": len(list(host.census())),
            "timers": len(host.timers),
            "registered sockets": len(host.poller().sources),
            "writers that flush": len(host.lingering),
        }
        return cls(host, frozenset(open_descriptors()), counts)

    async def balance(self) -> tuple[bool, str]:
        """Whether there is no more than before, if need be after a while; and what there is."""
        now = _Books.of(self.host)
        patience = bridgeio.current_time() + LEFTOVERS_GO  # a deadline of ours would be one timer too many
        while self._exceeded_by(now) and bridgeio.current_time() < patience:
            await bridgeio.sleep(0.001)
            now = _Books.of(self.host)
        more = [f"{name} {self.counts[name]} -> {count}" for name, count in now.counts.items()]
        new = sorted(now.descriptors - self.descriptors)
        return not self._exceeded_by(now), f"it has left something behind: {', '.join(more)}, new descriptors {new}"

    def _exceeded_by(self, now: _Books) -> bool:
        return len(now.descriptors) > len(self.descriptors) or any(
            count > self.counts[name] for name, count in now.counts.items()
        )


def _words(error: BaseException) -> str:
    """What is wrong, whatever groups it has come through."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(inner) for inner in error.exceptions)
    if isinstance(error, TimeoutError):
        return f"it has not ended after {PATIENCE} seconds"
    return f"{type(error).__name__}: {error}"
