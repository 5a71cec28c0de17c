"""Results and cancellation of coroutines that run as Deferreds; see `twisted_promises`."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from types import coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

import bridgeio
from bridgeio_twisted import as_deferred
from echoing import ask
from twisted_promises import promise, raises, turn

# Results


@promise
async def a_coroutines_result_comes_out(reactor: Any) -> None:
    """What the coroutine returns or raises is what the Deferred has; it starts in the next turn."""
    seen = []

    async def work(fails: bool) -> int:
        seen.append(bridgeio.current_backend())
        await bridgeio.sleep(0)
        return 1 // (not fails)

    deferred = as_deferred(work(False))
    assert seen == []
    assert await deferred == 1
    assert seen == ["twisted"]
    assert "division" in await raises(ZeroDivisionError, as_deferred(work(True)))


@promise
async def nothing_but_a_coroutine_is_taken(reactor: Any) -> None:
    """An async function that was not called is refused with words; so is a Deferred as a result."""
    for wrong in (ask, 3):
        with pytest.raises(TypeError, match="coroutine"):
            as_deferred(wrong)  # type: ignore[arg-type]

    async def returns_deferred() -> Deferred[int]:
        return succeed(3)

    assert "await it" in await raises(TypeError, as_deferred(returns_deferred()))


@promise
async def deferreds_are_awaited_beside_ours(reactor: Any) -> None:
    """One coroutine waits for Deferreds, pending and fired, failed ones and those of threads, in scopes and groups."""

    async def child(results: list[int]) -> None:
        results.append(await deferLater(reactor, 0.001, lambda: 2))

    async def work() -> list[int]:
        results = [await succeed(1)]
        with bridgeio.fail_after(20):
            async with bridgeio.create_task_group() as group:
                group.start_soon(child, results)
            results.append(await deferToThread(lambda: 3))
            await bridgeio.sleep(0.001)
        try:
            await deferLater(reactor, 0.001, lambda: 1 // 0)
        except ZeroDivisionError:
            results.append(4)
        return results

    assert await as_deferred(work()) == [1, 2, 3, 4]


@promise
async def an_awaited_deferred_keeps_its_result(reactor: Any) -> None:
    """Two tasks may await one Deferred, and both get what it fires with, as does a callback added after."""

    async def wait_for(deferred: Deferred[str]) -> str:
        return await deferred

    shared: Deferred[str] = Deferred()
    tasks = [as_deferred(wait_for(shared)), as_deferred(wait_for(shared))]
    await turn(reactor)
    shared.callback("all")
    assert [await task for task in tasks] == ["all", "all"]
    assert await shared == "all"

    broken: Deferred[str] = Deferred()
    tasks = [as_deferred(wait_for(broken)), as_deferred(wait_for(broken))]
    await turn(reactor)
    broken.errback(ValueError("broken"))
    broken.addErrback(lambda _: "mended")
    for task in tasks:
        assert await raises(ValueError, task) == "broken"


@promise
async def other_awaitables_are_refused(reactor: Any) -> None:
    """An asyncio Future in a Twisted task is a TypeError where it is awaited, and no hang."""

    @coroutine
    def foreign() -> Generator[Any, Any, None]:
        yield "something"

    async def work() -> str:
        try:
            await foreign()
        except TypeError as error:
            await bridgeio.sleep(0)
            return str(error)
        return ""

    assert "Deferreds" in await as_deferred(work())


# Cancelling


@promise
async def cancelling_the_deferred_cancels_the_task(reactor: Any) -> None:
    """The task sees a cancellation that ``except Exception`` does not eat, the Deferred Twisted's CancelledError."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await bridgeio.sleep_forever()
        except Exception:
            seen.append("eaten")
        except bridgeio.get_cancelled_exc_class():
            seen.append("cancelled")
            raise

    deferred = as_deferred(work())
    await turn(reactor)
    deferred.cancel()
    await raises(CancelledError, deferred)
    assert seen == ["cancelled"]


@promise
async def cancelling_waits_for_shielded_cleanup(reactor: Any) -> None:
    """The Deferred fails only when the task has ended, and callbacks that were added before see that."""
    seen: list[object] = []
    going = bridgeio.Event()

    async def work() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await deferLater(reactor, 0.001, lambda: None)
                await going.wait()
                seen.append("clean")

    deferred = as_deferred(work())
    deferred.addErrback(lambda failure: seen.append(failure.type))
    await turn(reactor)
    deferred.cancel()
    for _ in range(5):
        await turn(reactor)
    assert seen == []
    going.set()
    await deferred
    assert seen == ["clean", CancelledError]


@promise
async def a_task_that_comes_to_a_result_has_it(reactor: Any) -> None:
    """Cancelled before its first step, a function starts, and may turn the cancellation into a result."""

    async def work() -> str:
        try:
            await deferLater(reactor, 3600, lambda: None)
        except bridgeio.get_cancelled_exc_class():
            return "rescued"
        return "not cancelled"

    deferred = as_deferred(work())
    deferred.cancel()
    assert await deferred == "rescued"


@promise
async def a_second_cancel_tells_again(reactor: Any) -> None:
    """A task that swallowed its cancellation, and waits again, hears of it only if it is cancelled again."""
    cancels: list[int] = []

    def note(number: int, cancelled: object) -> None:
        cancels.append(number)

    async def stubborn() -> str:
        for number in range(2):
            try:
                await Deferred(partial(note, number))
            except bridgeio.get_cancelled_exc_class():
                continue
        return "gave in"

    deferred = as_deferred(stubborn())
    await turn(reactor)
    for heard in ([0], [0, 1]):
        deferred.cancel()
        for _ in range(3):
            await turn(reactor)
        assert cancels == heard
    assert await deferred == "gave in"


@promise
async def a_scope_cancels_a_deferred_once(reactor: Any) -> None:
    """A deadline runs the canceller of the Deferred awaited, once; a canceller's own result wins."""
    cancels: list[object] = []

    async def work() -> None:
        with bridgeio.move_on_after(0.001) as scope:
            await Deferred(cancels.append)
        assert scope.cancelled_caught
        with bridgeio.move_on_after(0.001) as scope:
            assert await Deferred(lambda cancelled: cancelled.callback("won")) == "won"
        assert not scope.cancelled_caught

    await as_deferred(work())
    assert len(cancels) == 1


@promise
async def a_cancelled_deferred_of_two_ends_both_waits(reactor: Any) -> None:
    """The task whose scope did it sees its own cancellation, the other one Twisted's CancelledError."""
    shared: Deferred[None] = Deferred()

    async def ours() -> bool:
        with bridgeio.move_on_after(0.001) as scope:
            await shared
        return scope.cancelled_caught

    async def theirs() -> None:
        with bridgeio.move_on_after(3600), pytest.raises(CancelledError):
            await shared

    other = as_deferred(theirs())
    assert await as_deferred(ours())
    await other


@promise
async def a_native_cancel_passes_through_scopes(reactor: Any) -> None:
    """Somebody's ``cancel()`` on the Deferred that we await is no cancellation of our scope."""
    pending: Deferred[None] = Deferred()

    async def work() -> None:
        with bridgeio.CancelScope(), pytest.raises(CancelledError):
            await pending

    deferred = as_deferred(work())
    for _ in range(2):
        await turn(reactor)
    pending.cancel()
    await deferred


@promise
async def one_task_in_another(reactor: Any) -> None:
    """A scope around an awaited ``as_deferred`` cancels what that one does, and waits for its cleanup."""
    seen = []

    async def inner() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.001)
            seen.append("inner")

    async def outer() -> None:
        with bridgeio.move_on_after(0.001):
            await as_deferred(inner())
        seen.append("outer")

    await as_deferred(outer())
    assert seen == ["inner", "outer"]


@promise
async def long_chains_do_not_recurse(reactor: Any) -> None:
    """3,000 tasks that wait for each other, and 3,000 Deferreds that fire at once, need no stack; others have turns."""
    turns: list[int] = []

    @coroutine
    def yield_fired() -> Generator[Any, Any, int]:
        one: int = yield succeed(1)
        return one

    async def many() -> int:
        reactor.callLater(0, turns.append, 1)
        return sum([await yield_fired() for _ in range(3000)])

    async def link(awaited: Deferred[int] | None) -> int:
        return 1 if awaited is None else 1 + await awaited

    assert await as_deferred(many()) == 3000
    assert turns == [1]
    chain: Deferred[int] | None = None
    for _ in range(3000):
        chain = as_deferred(link(chain))
    assert chain is not None
    assert await chain == 3000
