"""What an adapter has to bring. This file is the whole contract; a stranger can work from it alone.

Four things, from the outside in:

* `Adapter` describes a framework without importing it: names, requirements, capabilities.
* `Backend` starts the framework, or finds out that it is running around the caller.
* `Host` is one running loop (reactor, hub, scheduler): a clock, timers, descriptors, tasks.
* `Task` is one strand of execution. All waiting in bridgeio goes through `Task.park`.

Rule 1: the core calls a `Host` and a `Task` from the host's own thread only; the one exception is
`Host.call_soon_threadsafe`.
Rule 2: a park ends exactly once. `wake()` first means that the wait succeeded, whatever is cancelled
afterwards; a cancel first means that ``abort()`` is asked whether the wait can be taken back.
Rule 3: what a framework cannot keep is declared in `Capabilities`, never passed over in silence.
Rule 4: new methods come with a default, and raise the minor number of `CONTRACT`.
"""

from __future__ import annotations

import contextvars
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from socket import SOCK_STREAM
from time import monotonic
from typing import Any, ClassVar, TypeVar

from bridgeio.cancellation import Scope, cancel, why
from bridgeio.capabilities import Capabilities
from bridgeio.corks import Corked
from bridgeio.crossing import Crossing
from bridgeio.errors import AdapterError
from bridgeio.limits import BUDGET
from bridgeio.lookups import AddressInfo, getaddrinfo, getnameinfo, look_up_in_thread
from bridgeio.natives import Feed, NativeGroup, NativeScope, NativeStream
from bridgeio.poller import Poller
from bridgeio.pollers import new_poller
from bridgeio.records import Record
from bridgeio.tasks import Observed, ScopeState, TaskInfo, families, remember
from bridgeio.timers import Due, Handle, Timers

__all__ = [
    "BUDGET",
    "CONTRACT",
    "CURRENT",
    "Adapter",
    "AddressInfo",
    "Backend",
    "Capabilities",
    "Due",
    "Feed",
    "Handle",
    "Host",
    "Main",
    "NativeGroup",
    "NativeScope",
    "NativeStream",
    "Observed",
    "OnExit",
    "Poller",
    "Probe",
    "Scope",
    "ScopeState",
    "Task",
    "TaskInfo",
    "Timers",
    "cancel",
    "families",
    "get_current",
    "never",
    "why",
]

CONTRACT = (1, 1)

T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, T]]
OnExit = Callable[[int | None], object]
"""Called in the host's thread with a process's exit code, negative for a signal, or ``None`` if it is lost."""


class Probe(Record):
    """One way to see that the caller is inside a framework.

    :ivar rank: probes are asked in this order; see `bridgeio.registry` for the ranks in use.
    :ivar inside: must be cheap, must import nothing, and must not remember an answer.
    """

    rank: int
    inside: Callable[[], bool]


class Adapter(Record, kw_only=True):
    """A framework, described without importing it. This is what the entry point names.

    :ivar name: what users write as ``backend=``.
    :ivar framework: the distribution's name for people, such as ``Trio``.
    :ivar requires: top-level modules that must be importable.
    :ivar install: the requirement that brings them, such as ``bridgeio[trio]``.
    :ivar load: imports the framework and returns the backend; called once.
    :ivar contract: what it was written for. To be given in numbers by adapters that are released apart from bridgeio:
        the default is whatever is installed.
    """

    name: str
    framework: str
    requires: tuple[str, ...]
    install: str
    load: Callable[[], Backend]
    probes: tuple[Probe, ...] = ()
    capabilities: Capabilities = Capabilities()
    contract: tuple[int, int] = CONTRACT


class Backend(ABC):
    """A framework that has been imported."""

    name: str
    wraps: str = ""
    """What ``unwrap`` knows, in words, for an error: ``"a trio.abc.Stream"``."""

    @abstractmethod
    def run(self, main: Main[T], options: Mapping[str, object]) -> T:
        """Starts the framework, runs ``main()`` as a task in it, leaves it, and returns the result.

        May be called again and again in one process. Every task has ended and every descriptor is
        closed when it returns. KeyboardInterrupt and SystemExit come out: a Ctrl-C while the run
        waits is the adapter's to see to. So is an async generator that a task left half-way: its
        ``aclose`` runs inside the run, as a task, and never in place inside the collector.

        :raises TypeError: for an option it does not know.
        :raises BackendBusyError: if the framework cannot run here now.
        """

    @abstractmethod
    def current_task(self) -> Task:
        """The task that calls this: ours, or a record for one that the framework started.

        Asked only after a probe said yes. The same native task must get the same record as long as
        it lives, for the record carries its scopes.

        :raises NoBackendError: if the caller cannot wait (a callback outside any task).
        """

    def block(self, coro: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine from synchronous code inside this framework, and returns its result.

        Only where a wait blocks nobody else: in a thread, in a greenlet.

        :raises RuntimeError: elsewhere.
        """
        coro.close()
        raise RuntimeError(
            f"blocking() would stop the {self.name} loop that is running in this thread: "
            "await the function, or call it in a worker thread (to_thread.run_sync)"
        )

    def current_host(self) -> Host:
        """The host of the caller, who may be a callback of it, and no task.

        :raises NoBackendError: if it cannot be told there.
        """
        host: Host = self.current_task().host
        return host

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """The framework's name and version, and of what else decides how it behaves."""

    def unwrap(self, native: object) -> object | None:
        """For `bridgeio.wrap`: what carries the bytes of a stream of the framework's own. ``None`` if it is none.

        Either a `NativeStream`; or a connected socket, which is then the core's, the given object being of no use
        from now on; or an object with ``receive``, ``send`` and ``aclose``. (Since 1.1.)
        """
        return None


class Host(Crossing, ABC):
    """One running loop. The base class owns what every loop of ours has: a poller and timers.

    :ivar backend: the name under which `current_backend` reports it.
    :ivar lingering: writers that were closed and still flush.
    :ivar unflushed: descriptors with bytes left over, which the poller waits to send.
    :ivar corked: writers that hold something back until the turn is over.
    :ivar fed: streams of the framework's own that the core has wrapped, and that are not gone.
    :ivar mains: the tasks that carry a `bridgeio.run`.
    :ivar variables: the values of `bridgeio.lowlevel.RunVar`.
    :ivar thread: the ident of a thread that `admits` lets in, whatever it runs; 0 where there is no such thread.
    :ivar show_deadline: see `put_off`.
    :ivar clock: `now`, for those who ask with each message; an adapter may put in its place what costs no frame.
    :cvar cancelled_class: the exception class that means "cancelled" here, by a scope or natively.
    :cvar native_scopes: whether `open_scope` and `open_group` are to be asked.
    :cvar machinery: modules and packages whose frames say nothing to people who look at a stack.
    :cvar guarded: whether synchronous code outside any task may use writers, and is to be guarded.
    """

    backend: str
    cancelled_class: ClassVar[type[BaseException]]
    native_scopes: ClassVar[bool] = False
    guarded: ClassVar[bool] = False
    machinery: ClassVar[tuple[str, ...]] = ()

    def __init__(self, thread: int = 0) -> None:
        self.thread = thread
        self.show_deadline: Callable[[NativeScope, float], object] | None = None
        self.clock: Callable[[], float] = self.now
        self.timers = Timers(self.now, self.call_at)
        self.lingering: set[Any] = set()
        self.unflushed: set[Any] = set()
        self.corked = Corked(self, get_current)
        self.fed: set[Any] = set()
        self.mains: set[Any] = set()
        self.variables: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._poller: Poller | None = None
        self._watched: Handle | None = None
        remember(self)

    # Required

    @abstractmethod
    def now(self) -> float:
        """Seconds on the host's monotonic clock; any thread may ask."""

    @abstractmethod
    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        """Calls back once at that time or soon after; a moment early does no harm. Not promised: an order among equals.

        A cancelled task does not take the callback with it; the handle's ``cancel()`` does.
        """

    @abstractmethod
    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object:
        """Calls back in the host's thread, soon, also when the host is asleep. Any thread may call.

        :raises RuntimeError: if the host has ended.
        """

    @abstractmethod
    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle:
        """Calls back as long as the descriptor is readable (writable); ``cancel()`` ends it.

        ``None`` for a direction that is not to be watched. The two directions of one descriptor may
        be two watches, and cancelling one leaves the other alone.

        The poller needs one watch for all sockets. Not promised: that it is edge-triggered.
        """

    @abstractmethod
    def spawn(self, coro: Coroutine[Any, Any, object], name: str, scope: Scope) -> Task:
        """Starts a task that runs ``coro`` in a copy of the caller's context, and returns at once.

        ``scope`` is the task's root in the cancellation tree: set its ``task``, make it the task's
        ``scope``, set `CURRENT` in the task's context. The coroutine is always started, also when
        the scope is cancelled by then. It handles its own errors: what still comes out of it is a
        cancellation, or a bug to report as the framework reports such.
        """

    # Optional: each has a default, and so has what `bridgeio.crossing.Crossing` says of other threads

    def poller(self) -> Poller:
        """The private poller, made and watched at its first use."""
        if self._poller is None or self._watched is None:
            self._poller = new_poller(self)
            self._watched = self._poller.watched_by(self)
        return self._poller

    def open_scope(self, deadline: float, shield: bool) -> NativeScope:
        """A scope of the framework's own to stand under a `CancelScope`."""
        raise AdapterError(f"{self.backend} declares native_scopes and does not open one")

    def open_group(self) -> NativeGroup:
        """A task group of the framework's own to stand under a `TaskGroup`."""
        raise AdapterError(f"{self.backend} declares native_scopes and does not open a group")

    def put_off(self, due: Due, scope: NativeScope) -> bool:
        """Whether `timers` see to the deadline of a native scope from now on. It is moved to ``due.when``, and may be
        moved again with each message: then ``show_deadline(scope, when)`` is called, and nothing else. The framework
        has to tell all the while what it is, and not to act on it until ``scope.deadline`` is set.

        The default leaves deadlines to the framework: nothing has changed, and ``show_deadline`` is ``None``.
        """
        return False

    def effective_deadline(self) -> float:
        """The calling task's earliest deadline, where the scopes are native."""
        raise AdapterError(f"{self.backend} declares native_scopes and does not tell their deadline")

    async def resolve(
        self, host: str | None, port: int | str | None, family: int, flags: int, kind: int = SOCK_STREAM, proto: int = 0
    ) -> list[AddressInfo]:
        """Asks the name service for addresses, without holding up others. The name is in ASCII.

        A cancel gives the answer up; the thread that asks ends by itself.

        :raises socket.gaierror: as `socket.getaddrinfo`.
        """
        return await self.look_up(partial(getaddrinfo, host, port, family, flags, kind, proto))

    async def reverse(self, address: Any, flags: int) -> tuple[str, str]:
        """Asks the name service what the address is called, in the same manner.

        :raises socket.gaierror: as `socket.getnameinfo`.
        """
        return await self.look_up(partial(getnameinfo, address, flags))

    async def look_up(self, question: Callable[[], T]) -> T:
        """Calls a function that asks the name service, and blocks, without holding up others."""
        task = CURRENT.get()
        assert task is not None, "asked by the task that waits"
        return await look_up_in_thread(task, self.call_soon_threadsafe, question)

    async def start_process(self, arguments: Mapping[str, Any], on_exit: OnExit) -> int:
        """Starts a process as `subprocess.Popen` does with these arguments, and returns its number.

        ``on_exit`` is called once, in the host's thread, as soon as it has ended: with its exit code, or with
        ``None`` if somebody else has taken that. The process is no zombie then. May wait, but must not be
        cancelled once the process may have started: nobody would know of it. Since contract 1.1.

        :raises OSError: as ``Popen``.
        """
        from bridgeio.children import start_child  # slow to import, and most programs start no other

        return start_child(self, arguments, on_exit)

    def blocking_section(self) -> AbstractContextManager[None]:
        """A block in which the calling task makes calls that block, and none of bridgeio's."""
        return nullcontext()

    def call_guarded(self, function: Callable[..., T], *args: Any) -> T:
        """Makes a synchronous call of the core's for code that may be outside any task; asked only
        where ``guarded``. Nothing else of the host may run meanwhile."""
        return function(*args)

    def admits(self, thread: int) -> bool:
        """Whether code in this thread that is no task of this host's may touch it now: a callback of the
        host's, and not just any thread. The default admits all, and is as safe as its callers."""
        return True

    def tasks_known(self) -> Iterable[Task]:
        """Tasks that live, from which the others can be found in the cancellation tree; the default knows
        only `mains`. May be called at any moment, by any thread, and has to copy in one step what changes."""
        return list(self.mains)

    def census(self) -> list[Task]:
        """Every living task, at any moment, for any thread. To be replaced where the tree of tasks is the
        framework's own; records that are made just for this have ``nan`` for ``since``."""
        return families(self.tasks_known())

    def close(self) -> None:
        """The loop is over, or will not be ours again."""
        self.rest()
        self.variables.clear()
        self.end_crossing()

    def rest(self) -> None:
        """Ends the turn, the watch, then the poller, and takes back every timer; all may be needed anew."""
        self.corked.uncork_all()
        self.timers.close()
        poller, self._poller = self._poller, None
        watched, self._watched = self._watched, None
        if watched is not None:
            watched.cancel()
        if poller is not None:
            poller.end()


def never() -> bool:
    """The ``abort`` of a wait that cannot be taken back."""
    return False


class Task(Observed):
    """One strand of execution, and all that the core keeps for it.

    What others may ask of it, `bridgeio.tasks.Observed` answers; those answers may be replaced, too.

    :ivar scope: the innermost cancel scope.
    :ivar abort: set while, and only while, the task is parked; see `park`.
    :ivar failing: the task was woken to raise its cancellation.
    :ivar budget: operations left before the task gives way to others.
    :ivar kept: a native cancellation came during a wait that could not be taken back; see `park`.
    :ivar coro: the coroutine that it runs, for those who ask. Set by the core for what the core starts.
    :ivar since: when the record was made, on `time.monotonic`.
    """

    __slots__ = ("__weakref__", "abort", "budget", "coro", "failing", "host", "kept", "name", "scope", "since")

    def __init__(self, host: Any, name: str, scope: Scope) -> None:
        self.host = host
        self.name = name
        self.scope = scope
        self.abort: Callable[[], bool] | None = None
        self.failing = False
        self.kept = False
        self.budget = BUDGET
        self.coro: Any = None
        self.since = monotonic()
        scope.task = self

    # Required

    @property
    def thread(self) -> int:
        """The thread that runs a step of this task right now, else 0.

        `current_task` compares it with the caller's: `CURRENT` alone would lie in callbacks and in
        foreign child tasks, which inherit the context.
        """
        raise NotImplementedError

    def park(self, abort: Callable[[], bool]) -> Any:
        """An awaitable that ends at `wake`. Called by the task itself, and awaited at once.

        It does not look whether the scope is cancelled: who parks has looked. When a cancel comes,
        ``abort()`` either takes the wait back and says ``True``, and the park raises the host's
        cancelled class (or passes a native cancellation on), or it says ``False`` and the park goes
        on; a native cancellation is then kept, and raised at the task's next wait.
        It also gives the task a new budget.
        """
        raise NotImplementedError

    def wake(self) -> None:
        """Ends the park. Does nothing if the task is not parked. Only from the host's thread."""
        raise NotImplementedError

    def interrupt(self) -> bool:
        """Ends the wait in an awaitable of the host's, if the task is in one; says whether it was."""
        raise NotImplementedError

    def give_way(self) -> Any:
        """An awaitable: others have a turn, then the task goes on with a new budget. It cannot be
        cancelled, because it comes after work that must not be lost."""
        raise NotImplementedError

    # Optional: each has a default

    def wake_now(self) -> None:
        """`wake`, asked for by the poller: no task is running, so the woken one may run before this returns, where
        that is cheaper than a turn of the host's. A step that raises is the adapter's to see to."""
        self.wake()

    # The same everywhere but on hosts with scopes of their own

    def wake_cancelled(self) -> None:
        """Ends the park with a cancellation; ``abort()`` has said ``True``."""
        self.failing = True
        self.wake()

    async def checkpoint_if_cancelled(self) -> None:
        """Raises the host's cancelled class if the task's scope is cancelled, or the native one that was kept. It costs
        one operation: code that tries again and again must not keep others from their turn."""
        if self.scope.cancelled:
            self.budget -= 1
            if self.budget <= 0:
                await self.give_way()
        if self.scope.cancelled:
            raise self.cancellation()
        if self.kept:
            await self.raise_kept()

    def cancellation(self) -> BaseException:
        """A new exception of the host's cancelled class; from now on the task has heard of it."""
        self.failing = False
        self.scope.edge = True
        error: BaseException = self.host.cancelled_class(*why(self.scope))
        return error

    def raise_kept(self) -> Any:
        """An awaitable that raises the native cancellation that was kept; asked only when ``kept`` is set.

        A task raises it when it parks next by itself, which is the adapter's to see to. A group asks, because it
        must not be left without; so does each function that may end without a wait, lest a task that only ever
        gives way never hears of it.
        """
        raise NotImplementedError

    def keep(self, error: BaseException) -> None:
        """A native cancellation was on its way out of a block, and something else comes out in its place, or
        nothing: a group's failures, or a cancellation that its scope absorbs. Where it is not to be lost, it
        is raised at the task's next wait."""

    def forgive(self) -> None:
        """The scope that ended a native wait of this task is being left: nothing native is owed."""

    def is_ours(self, error: BaseException) -> bool:
        """Whether a scope of ours caused this cancellation, and not the framework's own way."""
        return isinstance(error, self.host.cancelled_class)

    def ends_a_block(self, error: BaseException) -> bool:
        """Whether this is a cancellation, of any kind: a task group that ends by it lets it out as it is."""
        return isinstance(error, self.host.cancelled_class)


CURRENT: contextvars.ContextVar[Task | None] = contextvars.ContextVar("bridgeio_task", default=None)
get_current = CURRENT.get  # bound once: the lookup would cost more than the call
