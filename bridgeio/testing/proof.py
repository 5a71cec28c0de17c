"""Evidence that a test ran where its id says, taken from the framework's own objects.

A kit that asked bridgeio where a test runs would believe a bridge that does not reach the other
side. So each witness asks the framework, and the framework alone; no framework is imported here: one
that carries a test has been imported by then.
"""

from __future__ import annotations

import gc
import sys
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import bridgeio
from bridgeio.contract import get_current
from bridgeio.unpatched import get_ident, original

__all__ = ["FIRST_PARTY", "PRESENT", "Witness", "witness_of"]


class Witness:
    """What the kit asks about a framework. This base class is for frameworks that brought none: it
    knows only what bridgeio says.

    :param backend: the name that the adapter registered.
    """

    independent = False

    def __init__(self, backend: str) -> None:
        self.backend = backend

    async def prove(self) -> None:
        """Called in a test's task.

        :raises AssertionError: if this framework does not carry the caller.
        """
        self.check(bridgeio.current_backend() == self.backend, "bridgeio itself says so")

    def tasks(self) -> int:
        """How many tasks, watches or greenlets of the framework's are alive now, in a running loop."""
        return 0

    def kept_threads(self) -> int:
        """How many threads the framework, or the adapter, keeps idle for later use."""
        return 0

    def module(self, name: str) -> ModuleType:
        """A module of the framework's. It is loaded, or the framework does not run."""
        self.check(name in sys.modules, f"{name} is not even imported")
        return sys.modules[name]

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            raise AssertionError(f"this test does not run on {self.backend}: {what}")


# The witness of the test that is running: a stranger's, if the stranger brought one.
PRESENT: ContextVar[Witness] = ContextVar("bridgeio_witness")


class AsyncioWitness(Witness):
    """The running loop's class, and a current task in it."""

    independent = True
    loops = "asyncio"

    async def prove(self) -> None:
        loop = running_loop()
        self.check(loop is not None, "no asyncio loop is running in this thread")
        kind = type(loop)
        self.check(kind.__module__.partition(".")[0] == self.loops, f"the running loop is a {kind!r}")
        self.check(self.module("asyncio").current_task(loop) is not None, "there is no current asyncio task")

    def tasks(self) -> int:
        return len(self.module("asyncio").all_tasks())


class UvloopWitness(AsyncioWitness):
    """As for asyncio; the loop is uvloop's."""

    loops = "uvloop"


class TornadoWitness(AsyncioWitness):
    """An IOLoop owns the running asyncio loop."""

    async def prove(self) -> None:
        await super().prove()
        owner = self.module("tornado.ioloop").IOLoop.current(instance=False)
        self.check(owner is not None, "no IOLoop owns the running loop")
        self.check(owner.asyncio_loop is running_loop(), "another IOLoop owns the running loop")


class TrioWitness(Witness):
    """Trio's own current task."""

    independent = True

    async def prove(self) -> None:
        try:
            self.module("trio").lowlevel.current_task()
        except RuntimeError as error:
            raise AssertionError(f"this test does not run on {self.backend}: {error}") from error

    def tasks(self) -> int:
        return int(self.module("trio").lowlevel.current_statistics().tasks_living)


class TwistedWitness(Witness):
    """The reactor runs, and this is its thread."""

    independent = True

    async def prove(self) -> None:
        reactor = self.module("twisted.internet.reactor")
        self.check(bool(getattr(reactor, "running", False)), "the reactor is not running")
        self.check(self.module("twisted.python.threadable").isInIOThread(), "this is not the reactor's thread")
        self.check("trio" not in sys.modules or not in_trio(), "a Trio task is running")

    def tasks(self) -> int:
        reactor: Any = self.module("twisted.internet.reactor")
        return len(reactor.getReaders()) + len(reactor.getWriters())

    def kept_threads(self) -> int:
        pool = getattr(self.module("twisted.internet.reactor"), "threadpool", None)
        return 0 if pool is None else len(pool.threads)


class GeventWitness(Witness):
    """A wait of this greenlet's lets the hub of this thread run, and it is the hub that runs then."""

    independent = True

    async def prove(self) -> None:
        greenlet = self.module("greenlet").getcurrent
        hub = self.module("gevent").get_hub()
        self.check(greenlet() is not hub, "the hub itself is running")
        seen: list[object] = []
        hub.loop.run_callback(lambda: seen.append(greenlet()))
        for _ in range(3):
            await bridgeio.sleep(0)
        self.check(seen == [hub], "the hub did not run while this task waited")

    def tasks(self) -> int:
        kind = self.module("greenlet").greenlet
        # By the type, because a proxy of what another thread has dropped since raises when isinstance() asks for more.
        living = [thing for thing in gc.get_objects() if issubclass(type(thing), kind) and thing]
        return sum(1 for thing in living if thing.parent is not None)  # what a thread itself is called is not one

    def kept_threads(self) -> int:
        hub = self.module("gevent._hub_local").get_hub_if_exists()  # to make one here would be to change what is tested
        pool = None if hub is None else hub._threadpool
        return 0 if pool is None else int(pool.size)


class ThreadsWitness(Witness):
    """A thread of its own for each task, and no loop in it."""

    independent = True

    async def prove(self) -> None:
        self.check(running_loop() is None, "an asyncio loop is running in this thread")
        self.check("trio" not in sys.modules or not in_trio(), "a Trio task is running")
        self.check("greenlet" not in sys.modules or not in_greenlet(), "this is a greenlet")
        here, there = native_id(), []

        async def child() -> None:
            there.append(native_id())

        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
        self.check(there != [here], "a child task runs in its parent's thread")

    def kept_threads(self) -> int:
        """Inside a run, those that wait for the next task; a run that has ended has none."""
        task = get_current()
        workers = getattr(task.host, "workers", None) if task is not None and task.thread == get_ident() else None
        return 0 if workers is None else int(workers.idle)


FIRST_PARTY: dict[str, type[Witness]] = {
    "asyncio": AsyncioWitness,
    "uvloop": UvloopWitness,
    "trio": TrioWitness,
    "tornado": TornadoWitness,
    "twisted": TwistedWitness,
    "gevent": GeventWitness,
    "threads": ThreadsWitness,
}


def witness_of(backend: str) -> Witness:
    """Our own witness for a backend, or one that has only bridgeio's word."""
    return FIRST_PARTY.get(backend, Witness)(backend)


def running_loop() -> Any:
    events = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()


def in_trio() -> bool:
    try:
        sys.modules["trio"].lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def in_greenlet() -> bool:
    return sys.modules["greenlet"].getcurrent().parent is not None


def native_id() -> int:
    return int(original("_thread", "get_native_id")())
