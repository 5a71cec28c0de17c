"""The reactor as a `Host`."""

from __future__ import annotations

import os
import socket
import sys
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from bridgeio.contract import CURRENT, AddressInfo, Handle, Host, Scope, cancel, never
from bridgeio.unpatched import get_ident
from bridgeio_twisted.resolver import answers, ask, is_twisteds_own
from bridgeio_twisted.task import Cancelled, Ended, TwistedTask, failure_of

__all__ = ["TwistedHost", "host_of", "leaves"]

STEPS = 64  # of tasks, before the reactor has its turn
SELECTABLE = 1024  # select() takes descriptors below

_ATTRIBUTE = "_bridgeio_host"
_log = Logger(namespace="bridgeio")


class TwistedHost(Host):
    """Kept by its reactor: for one run where we run the reactor, else until the reactor shuts down.

    Its turns: the poller's callback ends with the tasks that it has woken, so that a message costs
    one callback of the reactor's. What is left over, and who gave way, goes on in the next turn.

    :ivar thread: the ident of the reactor's thread.
    :ivar ready: tasks that go on, in this order.
    :ivar yielded: tasks that gave way, and go on once the reactor has looked for I/O and timers.
    :ivar idle: whether a turn has to be asked for.
    :ivar roots: tasks that are nobody's children, and that run.
    :ivar leave: what ends the program for a KeyboardInterrupt or a SystemExit.
    """

    backend = "twisted"
    cancelled_class = Cancelled

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.ready: deque[TwistedTask] = deque()
        self.yielded: list[TwistedTask] = []
        self.idle = True
        self.roots: set[TwistedTask] = set()
        self.leave: Callable[[BaseException], object] = self._stop_reactor
        self.owned = False
        self.closed = False
        self._batch: Any = None
        self._trigger: Any = None
        self._shutting_down = False
        self._ending = False
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._dropped: deque[AsyncGenerator[Any, Any]] = deque()
        self._winding_down: TwistedTask | None = None
        self._at_the_end: list[Deferred[None]] = []
        self._ended: deque[tuple[TwistedTask, Any, BaseException | None]] = deque()
        super().__init__(get_ident())

    def now(self) -> float:
        return time.monotonic()  # reactor.seconds() is the wall clock

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        return _Call(self.reactor.callLater(max(0.0, when - self.now()), self._call, callback))

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("this run on Twisted has ended")
        self.reactor.callFromThread(self._call, callback)

    def admits(self, thread: int) -> bool:
        return thread == self.thread

    def has_gone(self) -> bool:
        """A reactor that has stopped runs no more; only itself knows it from one that has not begun."""
        return self.closed or (getattr(self.reactor, "_startedBefore", False) and not self.reactor.running)

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        return _Watch(self, fd, on_readable, on_writable)

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> TwistedTask:
        task = TwistedTask(self, coro, name, scope)
        task.resume()
        return task

    async def resolve(
        self,
        host: str | None,
        port: int | str | None,
        family: int,
        flags: int,
        kind: int = socket.SOCK_STREAM,
        proto: int = 0,
    ) -> list[AddressInfo]:
        """Asks the application's resolver if it installed one, else as every host does.

        Twisted's own asks `socket.getaddrinfo` too, but in the threads that `deferToThread` needs.
        """
        own = is_twisteds_own(self.reactor)
        if own or host is None or isinstance(port, str) or not answers(flags, kind, proto):
            return await super().resolve(host, port, family, flags, kind, proto)
        task = CURRENT.get()
        if task is not None and task.scope.cancelled:
            await task.checkpoint_if_cancelled()
        return await ask(self.reactor.nameResolver, host, port or 0, family, kind)

    def spawn_visitor(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> TwistedTask:
        if self._ending:
            raise RuntimeError("this run on Twisted is ending")
        return self.start(coro, name, scope=scope)

    def start(
        self, coro: Coroutine[Any, Any, object], name: str, on_end: Ended | None = None, scope: Scope | None = None
    ) -> TwistedTask:
        """Starts a task that is nobody's child.

        :raises OSError: if the reactor can watch none of the descriptors that are to be had.
        """
        try:
            self._prepare()
        except BaseException:
            coro.close()
            raise
        task = TwistedTask(self, coro, name, Scope() if scope is None else scope, on_end)
        task.coro = coro
        self.roots.add(task)
        task.resume()
        return task

    def _prepare(self) -> None:
        if _selects(self.reactor):
            self.poller()  # early, while low descriptors are to be had
        if self._trigger is None and not self._shutting_down:
            self._trigger = self.reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)

    # Turns

    def schedule(self) -> None:
        """Asks the reactor for a turn."""
        self.idle = False
        self._batch = self.reactor.callLater(0, self._run_batch)

    def _run_batch(self) -> None:
        self._batch = None
        self.drain()

    def drain(self) -> None:
        """Lets tasks go on, at most `STEPS` times. The thread says meanwhile whose world this is."""
        self.idle = False
        self.thread = get_ident()
        ready = self.ready
        leave_world = self._enter_world()
        try:
            for _ in range(STEPS):
                if not ready:
                    break
                ready.popleft().step()
        finally:
            leave_world()
            self.settle()
            self._tell_ends()

    def settle(self) -> None:
        """At the end of a turn: asks for another one if there is something left to do."""
        if self.yielded:
            self.ready.extend(self.yielded)
            self.yielded.clear()
        self.idle = self._batch is None
        if self.ready and self.idle:
            self.schedule()

    def _enter_world(self) -> Callable[[], None]:
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(self._generators.add, self._close_later)
        sniffio: Any = sys.modules.get("sniffio")
        if sniffio is None:
            return partial(sys.set_asyncgen_hooks, *hooks)
        local = sniffio.thread_local
        name, local.name = local.name, "twisted"

        def leave() -> None:
            local.name = name
            sys.set_asyncgen_hooks(*hooks)

        return leave

    def _call(self, callback: Callable[[], object]) -> None:
        """Twisted logs what a callback raises, and goes on; some errors are to be heard all the same."""
        if self.closed:
            return
        try:
            callback()
        except BaseException as error:
            self.report(error, f"the callback {callback!r}")

    def report(self, error: BaseException, where: str) -> None:
        """For an error that no code of the application can catch."""
        if leaves(error):
            self.leave(error)
        else:
            _log.failure("An error in {where}", failure=failure_of(error), where=where)

    def _stop_reactor(self, error: BaseException) -> None:
        with suppress(ReactorNotRunning):
            self.reactor.stop()

    # Asynchronous generators

    def _close_later(self, generator: AsyncGenerator[Any, Any]) -> None:
        """The collector has found it, maybe in another thread: its cleanup may wait, and runs as a task."""
        with suppress(RuntimeError):  # the run has ended, and has closed it
            self._dropped.append(generator)
            self.call_soon_threadsafe(self._close_dropped)

    def _close_dropped(self) -> None:
        while self._dropped:
            generator = self._dropped.popleft()
            closing = self.start(self._close(generator), f"aclose of {generator!r}")
            closing.root.shielded = True

    async def _close(self, generator: AsyncGenerator[Any, Any]) -> None:
        try:
            await generator.aclose()
        except Cancelled:
            raise
        except BaseException as error:
            self.report(error, f"the cleanup of {generator!r}")

    # The end

    def ended(self, task: TwistedTask, result: object, error: BaseException | None) -> None:
        """Called by each task at its end. Who waits for a root is told at the end of the turn: what
        follows is Twisted's code, or the application's, and has no business in our world."""
        if task in self.roots:
            self._ended.append((task, result, error))
        elif error is not None and not isinstance(error, Cancelled):
            self.report(error, f"the task {task.name}")

    def _tell_ends(self) -> None:
        while self._ended:
            task, result, error = self._ended.popleft()
            self.roots.discard(task)
            if self._winding_down is not None:
                self._winding_down.wake()
            elif not self.owned:
                self._rest_if_idle()
            try:
                if task.on_end is not None:
                    task.on_end(result, error)
            except BaseException as raised:
                self.report(raised, f"what follows the task {task.name}")

    def wind_down(self) -> Deferred[None]:
        """Cancels all tasks; fires when they and their cleanup have ended. There are no visitors any more then."""
        self._ending = True
        done: Deferred[None] = Deferred()
        self._at_the_end.append(done)
        if self._winding_down is None:
            self._winding_down = self.start(self._end_everything(), "the end of all tasks", self._wound_down)
        return done

    async def _end_everything(self) -> None:
        me = self._winding_down
        assert me is not None
        while True:
            await self._end_roots(me)
            while self.lingering:
                await next(iter(self.lingering)).wait_flushed()
            for generator in list(self._generators):
                await self._close(generator)
            self._close_dropped()
            if self.roots == {me}:
                return

    async def _end_roots(self, me: TwistedTask) -> None:
        told: set[TwistedTask] = set()
        while others := self.roots - {me}:
            for task in others - told:
                if not task.root.shielded:
                    cancel(task.root)
            told |= others
            await me.park(never)

    def _wound_down(self, result: object, error: BaseException | None) -> None:
        self._winding_down = None
        waiting, self._at_the_end = self._at_the_end, []
        for done in waiting:
            done.callback(None)

    def _shut_down(self) -> Deferred[None]:
        """Before the reactor shuts down: it waits for what this returns."""
        self._shutting_down = True
        self._trigger = None
        return self.wind_down().addCallback(lambda _: self.close())

    def _rest_if_idle(self) -> None:
        """Leaves nothing in a reactor that is not ours, and that we may not be called in again; a
        test case that looks for such leftovers is right."""
        poller = self._poller
        if not (self.roots or self.lingering or len(self.timers) or (poller is not None and poller.sources)):
            self._rest()

    def _rest(self) -> None:
        self.rest()
        trigger, self._trigger = self._trigger, None
        if trigger is not None:
            self.reactor.removeSystemEventTrigger(trigger)

    def close(self) -> None:
        self._rest()
        super().close()
        self.closed = True
        batch, self._batch = self._batch, None
        if batch is not None and batch.active():
            batch.cancel()
        if getattr(self.reactor, _ATTRIBUTE, None) is self:
            delattr(self.reactor, _ATTRIBUTE)


class _Call:
    """A ``callLater`` that may be taken back when it is over."""

    def __init__(self, call: Any) -> None:
        self._delayed = call

    def cancel(self) -> None:
        if self._delayed.active():
            self._delayed.cancel()


class _Watch:
    """A descriptor as the reactor wants it. It must not raise: the reactor would drop it."""

    def __init__(
        self,
        host: TwistedHost,
        fd: int,
        on_readable: Callable[[], object] | None,
        on_writable: Callable[[], object] | None,
    ) -> None:
        self._host = host
        self._fd = low_copy(fd) if _selects(host.reactor) and fd >= SELECTABLE else fd
        self._is_copy = self._fd != fd
        self._on_readable = on_readable
        self._on_writable = on_writable
        if on_readable is not None:
            host.reactor.addReader(self)
        if on_writable is not None:
            host.reactor.addWriter(self)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "bridgeio"

    def doRead(self) -> None:
        if self._on_readable is not None:
            self._call(self._on_readable)

    def doWrite(self) -> None:
        if self._on_writable is not None:
            self._call(self._on_writable)

    def connectionLost(self, reason: object) -> None:
        """The other side has hung up: who reads or writes will be told. Or the reactor disconnects everything."""
        self.cancel()
        self.doRead()
        self.doWrite()

    def cancel(self) -> None:
        self._host.reactor.removeReader(self)
        self._host.reactor.removeWriter(self)
        if self._is_copy:
            self._is_copy = False
            os.close(self._fd)

    def _call(self, callback: Callable[[], object]) -> None:
        host = self._host
        host.idle = False
        try:
            callback()
        except BaseException as error:
            host.report(error, "a descriptor's callback")
        if host.ready:
            host.drain()
        else:
            host.settle()


def low_copy(fd: int) -> int:
    """The same open file under a number that ``select`` takes.

    :raises OSError: if all of those are in use.
    """
    import fcntl

    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
    if copy >= SELECTABLE:
        os.close(copy)
        raise OSError(
            f"the select reactor cannot watch descriptors from {SELECTABLE} on, and all below are in use: "
            "install another reactor, or start bridgeio earlier"
        )
    return copy


def host_of(reactor: Any) -> TwistedHost:
    """The host of a reactor, made at its first use."""
    host: TwistedHost | None = getattr(reactor, _ATTRIBUTE, None)
    if host is None:
        host = TwistedHost(reactor)
        setattr(reactor, _ATTRIBUTE, host)
    return host


def leaves(error: BaseException) -> bool:
    """Whether an error is meant to end the program, alone or in a group."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup((KeyboardInterrupt, SystemExit)) is not None
    return isinstance(error, KeyboardInterrupt | SystemExit)


def _selects(reactor: Any) -> bool:
    module = sys.modules.get("twisted.internet.selectreactor")
    return module is not None and isinstance(reactor, module.SelectReactor)
