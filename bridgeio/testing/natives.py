"""What each framework does without bridgeio: its own waits, and its own way to cancel.

The kit needs them to show that bridgeio gets along with both. No framework is imported here by name:
one that carries a test has been imported by then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

import bridgeio

__all__ = ["FIRST_PARTY", "Native", "native_of"]

PAUSE = 0.0003  # seconds

AsyncFunction = Callable[[], Coroutine[Any, Any, object]]
Cancel = Callable[[], object]


class Native(ABC):
    """A framework's own waits and its own cancellation. All of it is called in a bridgeio task."""

    @abstractmethod
    async def wait_forever(self) -> None:
        """Waits in the framework's own way for what never comes."""

    @abstractmethod
    async def pause(self) -> None:
        """Waits in the framework's own way for what comes soon."""

    @abstractmethod
    async def give_way(self, times: int) -> None:
        """Lets the framework's loop go round some times, by waits of the framework's own."""

    @abstractmethod
    async def cancelled_from_outside(self, function: AsyncFunction, ready: bridgeio.Event) -> None:
        """Starts ``function`` as the framework starts a task, cancels it natively once ``ready`` is set,
        and waits for its end.

        :raises AssertionError: if it did not end as the framework ends what was cancelled.
        """


class Asyncio(Native):
    """Futures, and `asyncio.Task.cancel`."""

    async def wait_forever(self) -> None:
        await import_module("asyncio").get_running_loop().create_future()

    async def pause(self) -> None:
        await import_module("asyncio").sleep(PAUSE)

    async def give_way(self, times: int) -> None:
        for _ in range(times):
            await import_module("asyncio").sleep(0)

    async def cancelled_from_outside(self, function: AsyncFunction, ready: bridgeio.Event) -> None:
        asyncio = import_module("asyncio")
        task = asyncio.get_running_loop().create_task(function())
        await ready.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), "the task did not end cancelled"


class Trio(Native):
    """Its own scopes and its own sleeping."""

    async def wait_forever(self) -> None:
        await import_module("trio").sleep_forever()

    async def pause(self) -> None:
        await import_module("trio").sleep(PAUSE)

    async def give_way(self, times: int) -> None:
        for _ in range(times):
            await import_module("trio").lowlevel.checkpoint()

    async def cancelled_from_outside(self, function: AsyncFunction, ready: bridgeio.Event) -> None:
        trio = import_module("trio")
        with trio.CancelScope() as around:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(function)
                await ready.wait()
                around.cancel()
        assert around.cancelled_caught, "Trio's scope caught nothing"


class Twisted(Native):
    """Deferreds, and ``Deferred.cancel``."""

    async def wait_forever(self) -> None:
        await import_module("twisted.internet.defer").Deferred()

    async def pause(self) -> None:
        await import_module("twisted.internet.task").deferLater(import_module("twisted.internet.reactor"), PAUSE)

    async def give_way(self, times: int) -> None:
        reactor: Any = import_module("twisted.internet.reactor")
        for _ in range(times):
            turn = import_module("twisted.internet.defer").Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn

    async def cancelled_from_outside(self, function: AsyncFunction, ready: bridgeio.Event) -> None:
        defer = import_module("twisted.internet.defer")
        deferred = import_module("bridgeio_twisted").as_deferred(function())
        await ready.wait()
        deferred.cancel()
        try:
            await deferred
        except defer.CancelledError:
            return
        raise AssertionError("the Deferred did not fail with Twisted's CancelledError")


class Gevent(Native):
    """Switches to the hub, and ``Greenlet.kill``."""

    async def wait_forever(self) -> None:
        import_module("gevent.event").Event().wait()

    async def pause(self) -> None:
        import_module("gevent").sleep(PAUSE)

    async def give_way(self, times: int) -> None:
        for _ in range(times):
            import_module("gevent").sleep(0)

    async def cancelled_from_outside(self, function: AsyncFunction, ready: bridgeio.Event) -> None:
        strand = import_module("bridgeio_gevent").spawn(function)
        await ready.wait()
        strand.kill(block=False)
        strand.join()
        ended_by = strand.value
        assert isinstance(ended_by, import_module("greenlet").GreenletExit), f"the greenlet ended with {ended_by!r}"


FIRST_PARTY: dict[str, type[Native]] = {
    "asyncio": Asyncio,
    "uvloop": Asyncio,
    "tornado": Asyncio,
    "trio": Trio,
    "twisted": Twisted,
    "gevent": Gevent,
}


def native_of(backend: str) -> Native | None:
    """The native side of a backend; ``None`` for threads, which have none, and for strangers."""
    kind = FIRST_PARTY.get(backend)
    return None if kind is None else kind()
