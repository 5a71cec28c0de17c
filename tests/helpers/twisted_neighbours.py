"""What coroutines of ours and Twisted's own facilities do to each other; see `twisted_promises`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredLock,
    DeferredQueue,
    TimeoutError,  # noqa: A004 - Twisted's, which is the builtin one
    gatherResults,
    inlineCallbacks,
    succeed,
)
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent

import bridgeio
from bridgeio.errors import NoBackendError
from bridgeio.testing.peers import peer_stream
from bridgeio.testing.resources import until
from bridgeio.unpatched import original
from bridgeio_twisted import as_deferred
from echoing import echo
from twisted_promises import promise, raises, turn

# Deferreds inside scopes


async def cancelled_in(wait: Callable[[], Awaitable[object]]) -> list[str]:
    """What a task sees whose scope is cancelled during a wait of Twisted's."""
    seen: list[str] = []
    with bridgeio.move_on_after(0.001) as scope:
        try:
            await wait()
        except Exception:
            seen.append("eaten")
        except bridgeio.get_cancelled_exc_class():
            seen.append("cancelled")
            raise
    assert scope.cancelled_caught
    return seen


@promise
async def a_canceller_that_does_nothing_ends_the_wait(reactor: Any) -> None:
    """Twisted forces the end. Without any canceller a late result is dropped, and disturbs nobody."""
    pending: Deferred[int] = Deferred()

    async def work() -> list[str]:
        return await cancelled_in(lambda: Deferred(lambda _: None)) + await cancelled_in(lambda: pending)

    assert await as_deferred(work()) == ["cancelled", "cancelled"]
    pending.callback(3)
    await turn(reactor)


@promise
async def a_cancelled_chain_may_clean_up(reactor: Any) -> None:
    """An errback that answers the cancel with another Deferred is waited for, and is not cancelled again."""
    cancels_again: list[object] = []
    cleanup: Deferred[None] = Deferred(cancels_again.append)
    pending: Deferred[None] = Deferred()
    pending.addErrback(lambda failure: cleanup.addCallback(lambda _: failure))

    async def work() -> list[str]:
        return await cancelled_in(lambda: pending)

    task = as_deferred(work())
    while not pending.called:
        await turn(reactor)
    for _ in range(10):
        await turn(reactor)
    assert not task.called
    cleanup.callback(None)
    assert await task == ["cancelled"]
    assert cancels_again == []


@promise
async def lists_of_deferreds_are_cancelled_once(reactor: Any) -> None:
    """DeferredList and gatherResults hand the cancel on to each of theirs, once."""
    cancels: list[object] = []

    async def work(gather: Callable[[list[Deferred[None]]], Any]) -> list[str]:
        return await cancelled_in(lambda: gather([Deferred(cancels.append) for _ in range(3)]))

    assert await as_deferred(work(lambda some: gatherResults(some, consumeErrors=True))) == ["cancelled"]
    assert len(cancels) == 3
    results: list[Any] = []

    async def listed() -> None:
        with bridgeio.move_on_after(0.001) as scope:
            results.extend(await DeferredList([Deferred(cancels.append) for _ in range(2)], consumeErrors=True))
        assert not scope.cancelled_caught  # it has a result, by its own rules: two failures

    await as_deferred(listed())
    assert [(good, failure.type) for good, failure in results] == [(False, CancelledError)] * 2
    assert len(cancels) == 5


@promise
async def a_cancelled_waiter_leaves_locks_and_queues(reactor: Any) -> None:
    """A DeferredLock is not held, and an item of a DeferredQueue not lost, for the sake of a cancelled task."""
    lock, queue = DeferredLock(), DeferredQueue[str]()
    await lock.acquire()

    async def work() -> list[str]:
        return await cancelled_in(lock.acquire) + await cancelled_in(queue.get)

    assert await as_deferred(work()) == ["cancelled", "cancelled"]
    lock.release()
    assert not lock.locked
    queue.put("item")
    assert await queue.get() == "item"


@promise
async def a_threads_work_is_given_up(reactor: Any) -> None:
    """A scope ends the wait for ``deferToThread`` at once; the thread itself goes on to its end."""
    blocked, ended = original("_thread", "allocate_lock")(), list[int]()
    blocked.acquire()

    def work_in_thread() -> None:
        blocked.acquire()
        ended.append(1)

    async def work() -> list[str]:
        return await cancelled_in(lambda: deferToThread(work_in_thread))

    assert await as_deferred(work()) == ["cancelled"]
    assert ended == []
    blocked.release()
    while not ended:
        await turn(reactor)


@promise
async def a_cancelled_request_closes_its_connection(reactor: Any) -> None:
    """Twisted's HTTP client inside a scope: the server sees the end of a request that was given up."""
    seen: list[str] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append("request")
        try:
            seen.append(f"end {await reader.read()!r}")
        except ConnectionError:
            seen.append("end by a reset")

    async def work() -> None:
        async with bridgeio.serve(handler, "127.0.0.1") as server, bridgeio.create_task_group() as group:
            scope = bridgeio.CancelScope()

            async def request() -> None:
                with scope:
                    agent: Any = Agent
                    await agent(reactor).request(b"GET", b"http://127.0.0.1:%d/" % server.port)

            group.start_soon(request)
            await until(lambda: seen)
            scope.cancel()
            await until(lambda: len(seen) == 2)
            assert scope.cancelled_caught

    await as_deferred(work())
    assert seen in (["request", "end b''"], ["request", "end by a reset"])


@promise
async def fired_deferreds_need_a_checkpoint(reactor: Any) -> None:
    """Awaiting those never suspends, nor recurses; a ``checkpoint`` in the loop lets others in, and is cancelled."""
    rounds: list[int] = []

    async def many() -> int:
        return sum([await succeed(1) for _ in range(50_000)])

    async def loop() -> None:
        while True:
            rounds.append(await succeed(1))
            await bridgeio.lowlevel.checkpoint()

    assert await as_deferred(many()) == 50_000
    endless = as_deferred(loop())
    for _ in range(3):
        await turn(reactor)
    endless.cancel()
    await raises(CancelledError, endless)
    assert rounds


# Deferreds that stand for tasks


def cleaning(reactor: Any, seen: list[str]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def work() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                for _ in range(5):
                    await turn(reactor)
                    await bridgeio.sleep(0)
            seen.append("clean")

    return work


@promise
async def cancelling_twice_cuts_no_shielded_cleanup(reactor: Any) -> None:
    """Each further ``cancel()`` of the Deferred leaves the shield alone, and the Deferred fails at its end."""
    seen: list[str] = []
    deferred = as_deferred(cleaning(reactor, seen)())
    await turn(reactor)
    for _ in range(3):
        deferred.cancel()
        await turn(reactor)
    assert seen == []
    await raises(CancelledError, deferred)
    assert seen == ["clean"]
    deferred.cancel()  # it has ended: nothing to do


@promise
async def a_timeout_waits_for_cleanup(reactor: Any) -> None:
    """``addTimeout`` is a cancel: the Deferred fails with Twisted's TimeoutError when the cleanup is over."""
    seen: list[str] = []
    await raises(TimeoutError, as_deferred(cleaning(reactor, seen)()).addTimeout(0.005, reactor))
    assert seen == ["clean"]
    await as_deferred(bridgeio.sleep(0)).addTimeout(60, reactor)
    assert reactor.getDelayedCalls() == []


@promise
async def a_task_may_cancel_its_own_deferred(reactor: Any) -> None:
    """Cancelled while it runs, a task goes on to its next wait, which raises."""
    seen: list[str] = []
    deferreds: list[Deferred[None]] = []

    async def work() -> None:
        deferreds[0].cancel()
        seen.append("goes on")
        await bridgeio.sleep(0)
        seen.append("too far")

    deferreds.append(as_deferred(work()))
    await raises(CancelledError, deferreds[0])
    assert seen == ["goes on"]


# Under Twisted's own drivers

WAITS = ["read", "drain", "sleep", "checkpoint", "event", "lock", "queue", "group", "scope", "connect", "serve"]


async def make(kind: str, reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    if kind == "scope":
        with bridgeio.move_on_after(1):
            """No wait: entering is refused already."""
    elif kind == "group":
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.sleep, 0)
    elif kind == "serve":
        async with bridgeio.serve(echo, "127.0.0.1"):
            """Not reached."""
    else:
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: reader.read(1),
            "drain": writer.drain,
            "sleep": lambda: bridgeio.sleep(1),
            "checkpoint": bridgeio.lowlevel.checkpoint,
            "event": bridgeio.Event().wait,
            "lock": bridgeio.Lock().acquire,
            "queue": bridgeio.Queue[int]().get,
            "connect": lambda: bridgeio.open_connection("127.0.0.1", 9),
        }
        await waits[kind]()


@promise
async def each_wait_says_that_as_deferred_is_needed(reactor: Any) -> None:
    """In fromCoroutine and inlineCallbacks every kind of wait, groups and scopes too, names ``as_deferred``."""
    streams: list[Any] = []
    close = bridgeio.Event()

    async def hold() -> None:
        async with peer_stream() as (reader, writer, _):
            streams.extend([reader, writer])
            await close.wait()

    @inlineCallbacks
    def old_style(coro: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        yield from coro.__await__()

    holding = as_deferred(hold())
    while not streams:
        await turn(reactor)
    for kind in WAITS:
        for driven in (Deferred.fromCoroutine(make(kind, *streams)), old_style(make(kind, *streams))):
            assert "as_deferred" in await raises(NoBackendError, driven), kind

    async def let_go() -> None:
        close.set()

    await as_deferred(let_go())
    await holding


@promise
async def as_deferred_works_under_twisteds_own_drivers(reactor: Any) -> None:
    """What the error advises: in fromCoroutine and inlineCallbacks await, or yield, ``as_deferred(...)``."""

    async def ours() -> str:
        await bridgeio.sleep(0.001)
        return bridgeio.current_backend()

    async def new_style() -> str:
        return await as_deferred(ours())

    @inlineCallbacks
    def old_style() -> Generator[Deferred[str], Any, str]:
        said: str = yield as_deferred(ours())
        return said

    assert await Deferred.fromCoroutine(new_style()) == "twisted"
    assert await old_style() == "twisted"


@promise
async def cancelling_a_native_coroutine_cancels_ours(reactor: Any) -> None:
    """The cancel of a coroutine under ``Deferred.fromCoroutine`` reaches the task that it awaits, cleanup and all."""
    seen: list[str] = []

    async def native() -> None:
        await as_deferred(cleaning(reactor, seen)())

    deferred = Deferred.fromCoroutine(native())
    await turn(reactor)
    deferred.cancel()
    await raises(CancelledError, deferred)
    assert seen == ["clean"]
