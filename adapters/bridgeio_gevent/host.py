"""A gevent hub as a `Host`."""

from __future__ import annotations

import os
import socket
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from gevent._hub_local import get_hub_if_exists
from gevent.exceptions import HubDestroyed
from greenlet import GreenletExit, getcurrent, greenlet

from bridgeio.contract import AddressInfo, Handle, Host, OnExit, Scope, cancel, never
from bridgeio.unpatched import get_ident, original
from bridgeio_gevent.children import Ending, started
from bridgeio_gevent.task import GeventTask, carried_by, new_strand

__all__ = ["GeventHost", "host_of"]

_ATTRIBUTE = "_bridgeio_host"
_READ, _WRITE = 1, 2  # libev's bits
_clock: Callable[[], float] = original("time", "monotonic")  # libev goes by the same one


class GeventHost(Host):
    """Lives as long as its hub, which keeps it, or as the run that made both.

    Its turns: whatever the hub calls of ours ends with the tasks that it has woken, so that a message
    costs one callback of libev's. Tasks that those wake have their turn after libev has looked for
    I/O and timers again: ours alone can never keep the hub from them.

    :ivar hub: gevent's.
    :ivar to_hub: switches to the hub, past ``switch_out``.
    :ivar tasks: those that are driven.
    :ivar ready: tasks that waited, and go on at the next turn.
    :ivar waiting: how many tasks are in a wait of ours; see `hold`.
    :ivar held: whether the hub has to go on for us.
    :ivar prodded: whether a turn is under way, or certain to come.
    :ivar shared: used outside the run that made it, so it outlives that run.
    :ivar runs: how many `Backend.run` are on it.
    :ivar endings: of the processes that run.
    """

    backend = "gevent"
    cancelled_class = GreenletExit

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.to_hub: Callable[[], object] = greenlet.switch.__get__(hub)
        self.tasks: set[GeventTask] = set()
        self.ready: deque[GeventTask] = deque()
        self.waiting = 0
        self.held = False
        self.prodded = False
        self.shared = False
        self.runs = 0
        self.closed = False
        self.endings: set[Ending] = set()
        self._native: deque[GeventTask] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._joiner: GeventTask | None = None
        self._adopted: weakref.WeakValueDictionary[int, GeventTask] = weakref.WeakValueDictionary()
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()
        self._hooks_before: Any = None  # set while ours are in force
        # Ahead of others' callbacks, so that no gevent.Timeout comes between a wake-up and its turn.
        self._async = hub.loop.async_(ref=False, priority=hub.loop.MAXPRI)
        self._async.start(self.turn, self._make_calls)
        super().__init__(get_ident())
        self.clock = _clock
        _hosts.add(self)

    def now(self) -> float:
        return _clock()

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        loop = self.hub.loop
        timer = loop.timer(max(loop.approx_timer_resolution, when - _clock()), ref=False)
        timer.start(self.turn, callback, update=True)  # the loop's own idea of now is as old as its iteration
        return _Watch([timer])

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        if self.has_gone():
            raise RuntimeError("this run on gevent has ended, or its hub was destroyed")
        self._calls.append(callback)
        try:
            self._async.send()
        except (AttributeError, TypeError, ValueError) as error:  # each loop says it in its own way
            raise RuntimeError("the hub was destroyed") from error

    def admits(self, thread: int) -> bool:
        return thread == self.thread

    def has_gone(self) -> bool:
        return self.closed or self.hub.loop is None

    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        loop = self.hub.loop
        watchers = []
        for events, callback in ((_READ, on_readable), (_WRITE, on_writable)):
            if callback is not None:
                watchers.append(loop.io(fd, events, ref=False))
                watchers[-1].start(self.turn, callback)
        return _Watch(watchers)

    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> GeventTask:
        task = GeventTask(self, name, scope)
        new_strand(task, coro)
        self.tasks.add(task)
        task.waiting = True
        self.waiting += 1
        self.ready.append(task)
        self.prod()
        return task

    def spawn_visitor(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> GeventTask:
        if self._joiner is not None:
            raise RuntimeError("this run on gevent is ending")
        return self.spawn(coro, name, scope)

    def tasks_known(self) -> list[GeventTask]:
        adopted = (ref() for ref in self._adopted.valuerefs())
        return [*list(self.tasks), *(task for task in adopted if task is not None and task.is_carried())]

    def adopt(self, inside: greenlet) -> GeventTask:
        """The record of a greenlet that somebody else started; the same one as long as both live."""
        known = carried_by(inside)
        if known is None or known.host is not self:
            self.shared = True
            known = GeventTask(self, f"greenlet {inside!r}", Scope())
            known.carry_in(inside)
            self._adopted[id(known)] = known
        if known.driven:
            known.thread = self.thread  # it was lost in a native wait
        else:
            self.prod()  # a deadline may be taken back right after, and then nothing keeps the hub
        return known

    async def resolve(
        self,
        host: str | None,
        port: int | str | None,
        family: int,
        flags: int,
        kind: int = socket.SOCK_STREAM,
        proto: int = 0,
    ) -> list[AddressInfo]:
        """Asks gevent's resolver, which blocks this greenlet alone; a cancel is thrown into that wait."""
        found: list[AddressInfo] = await self._ask("getaddrinfo", host, port, family, kind, proto, flags)
        return found

    async def reverse(self, address: Any, flags: int) -> tuple[str, str]:
        """Asks gevent's resolver, too."""
        found: tuple[str, str] = await self._ask("getnameinfo", address, flags)
        return found

    async def _ask(self, question: str, *args: object) -> Any:
        task = self.adopt(getcurrent())
        if task.scope.cancelled:
            await task.checkpoint_if_cancelled()
        found = getattr(self.hub.resolver, question)(*args)
        self.adopt(getcurrent())
        return found

    def leave_thread(self) -> None:
        """Patched code that has waited there has made a hub, which is left half-way through by its own end."""
        hub = get_hub_if_exists()
        if hub is not None:
            hub.destroy(destroy_loop=True)
            hub.throw(GreenletExit)

    async def start_process(self, arguments: Mapping[str, Any], on_exit: OnExit) -> int:
        """Through `gevent.subprocess`: libev takes the status of every child of this process.

        It does so in the main thread; in the hub of another one a child is started and watched as everywhere
        else, and its code is lost if the main thread's hub has children, too.
        """
        if not self.hub.loop.default:
            return await super().start_process(arguments, on_exit)
        task = self.adopt(getcurrent())
        popen = await started(task, arguments)
        Ending(self, popen, on_exit)
        return int(popen.pid)

    def close(self) -> None:
        super().close()
        self.closed = True
        for ending in list(self.endings):
            ending.close()
        with suppress(ValueError):  # the loop is destroyed
            self._async.close()
        if getattr(self.hub, _ATTRIBUTE, None) is self:
            delattr(self.hub, _ATTRIBUTE)

    # What keeps the hub from ending: gevent.wait() and an idle hub are asked whether anything refers to it.

    def prod(self) -> None:
        """Makes sure that a turn comes, after libev has polled."""
        if not self.prodded:
            self.prodded = True
            if not self.held:
                self.hold()
            self._async.send()

    def hold(self) -> None:
        """A task of ours waits, or has a deadline, or is about to go on: the hub has to go on, too."""
        self.held = True
        self._async.ref = True

    def settle(self) -> None:
        """Nobody of ours may need the hub any more, or somebody may for a deadline around a gevent call."""
        if self.waiting or self.prodded or len(self.timers):
            if not self.held:
                self.hold()
        elif self.held:
            self.held = False
            self._async.ref = False

    def end_native_wait_of(self, task: GeventTask) -> None:
        """Has the hub look whether the task is in a gevent call, and end that."""
        self._native.append(task)
        self.prod()

    # Tasks that come and go

    def task_started(self, task: GeventTask) -> None:
        if self._hooks_before is None:
            self._hooks_before = sys.get_asyncgen_hooks()
            sys.set_asyncgen_hooks(self._generator_starts, self._generator_dropped)
        self.tasks.add(task)

    def task_ended(self, task: GeventTask) -> None:
        self.tasks.discard(task)
        if not self.tasks:
            before, self._hooks_before = self._hooks_before, None
            if sys.get_asyncgen_hooks().finalizer == self._generator_dropped:
                sys.set_asyncgen_hooks(*before)
        if self._joiner is not None:
            self._joiner.wake()
        self.settle()

    async def end_all_but(self, last: GeventTask, *, cancelling: bool) -> None:
        """Waits until no other task is left and every asynchronous generator is closed."""
        last.scope = Scope()  # nothing may cancel this
        await last.give_way()  # after Ctrl-C in the hub, that stands in a throw, and must not be destroyed there
        self._joiner = last
        for task in self.tasks - {last} if cancelling else ():
            cancel(task.root)
        while len(self.tasks) > 1 or self._generators:
            if len(self.tasks) > 1:
                await last.park(never)
            else:
                self._finish(self._generators.pop())
        self._joiner = None

    def _generator_starts(self, generator: AsyncGenerator[Any, Any]) -> None:
        task = carried_by(getcurrent())
        if task is not None and task.driven:
            self._generators.add(generator)
        elif self._hooks_before is not None and self._hooks_before.firstiter is not None:
            self._hooks_before.firstiter(generator)

    def _generator_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Called inside the collector, in any thread: only asks for a task that finishes the generator."""
        with suppress(RuntimeError):  # this host has ended
            self.call_soon_threadsafe(partial(self._finish, generator))

    def _finish(self, generator: AsyncGenerator[Any, Any]) -> None:
        async def finish() -> None:
            await generator.aclose()

        self.spawn(finish(), f"finishes {generator!r}", Scope())

    # Turns. All of this runs in the hub, where nothing may escape: libev would stop the watcher.

    def turn(self, callback: Callable[[], object]) -> None:
        """Calls back, and lets those go on whom that has woken."""
        self.prodded = True
        try:
            callback()
            self._run_ready()
        except BaseException as error:
            self._report(error)
        finally:
            self.prodded = False
            if self.ready or self._calls or self._native:
                self.prod()
            elif not self.waiting:
                self.settle()

    def _run_ready(self) -> None:
        """Those that are ready now. Taking one and switching to it is one step for signal handlers,
        which Python runs at calls and at jumps back: so none is lost to Ctrl-C."""
        ready = self.ready
        for _ in range(len(ready)):
            task = ready[0]
            del ready[0]
            task.waiting = False
            self.waiting -= 1
            task.resume()  # type: ignore[misc]
        for _ in range(len(self._native)):
            self._native.popleft().end_native_wait()

    def _make_calls(self) -> None:
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _report(self, error: BaseException) -> None:
        """As gevent reports what comes out of callbacks and greenlets. KeyboardInterrupt and its like,
        also those that a signal handler raises, are thrown into the main greenlet."""
        if isinstance(error, HubDestroyed):
            raise error
        kind, trace = type(error), error.__traceback__
        if isinstance(error, (Exception, GreenletExit)):
            self.hub.handle_error(self, kind, error, trace)
        else:
            self.hub.handle_system_error(kind, error, trace)

    def forget_poller(self) -> None:
        """In a forked child: the poller is closed, and a new one is made when somebody needs it."""
        self._poller = None
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.cancel()


class _Watch:
    """Started watchers as a handle."""

    __slots__ = ("_watchers",)

    def __init__(self, watchers: list[Any]) -> None:
        self._watchers = watchers

    def cancel(self) -> None:
        watchers, self._watchers = self._watchers, []
        with suppress(ValueError):  # the loop is destroyed
            for watcher in watchers:
                watcher.close()


def host_of(hub: Any) -> GeventHost:
    """The host of a hub, made at its first use."""
    host: GeventHost | None = getattr(hub, _ATTRIBUTE, None)
    if host is None:
        host = GeventHost(hub)
        setattr(hub, _ATTRIBUTE, host)
    return host


_hosts: weakref.WeakSet[GeventHost] = weakref.WeakSet()


def _start_anew() -> None:
    for host in list(_hosts):
        host.forget_poller()


os.register_at_fork(after_in_child=_start_anew)
