"""Whose cancellation it is: a scope's, or asyncio's own. asyncio counts its own, and the count stays right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from loops import turns

Inside = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
Sleep = Callable[[float], Coroutine[Any, Any, None]]

both_sleeps = pytest.mark.parametrize("sleep", [bridgeio.sleep, asyncio.sleep], ids=["our wait", "native wait"])


def me() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def swallow_a_cancel() -> None:
    """What careless code does: the cancellation is gone, and still counted."""
    me().cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)


# The past does not count


@both_sleeps
def test_a_cancel_that_was_swallowed_long_ago_confuses_no_scope(inside: Inside, sleep: Sleep) -> None:
    """A later scope absorbs its own cancellation, and leaves the old count alone."""

    async def main() -> tuple[bool, int]:
        await swallow_a_cancel()
        with bridgeio.move_on_after(0.001) as scope:
            await sleep(3600)
        return scope.cancelled_caught, me().cancelling()

    assert inside(main) == (True, 1)


@both_sleeps
def test_a_cancel_that_was_swallowed_long_ago_confuses_no_timeout_inside_a_scope(inside: Inside, sleep: Sleep) -> None:
    """`asyncio.timeout` in a scope that is cancelled later: each ends its own block."""

    async def main() -> list[str]:
        log: list[str] = []
        await swallow_a_cancel()
        with bridgeio.CancelScope() as scope:
            try:
                async with asyncio.timeout(0.001):
                    await sleep(3600)
            except TimeoutError:
                log.append("timeout")
            scope.cancel()
            await sleep(3600)
        log.append(f"scope {scope.cancelled_caught}, cancelling {me().cancelling()}")
        return log

    assert inside(main) == ["timeout", "scope True, cancelling 1"]


@both_sleeps
def test_a_native_cancel_after_one_that_was_swallowed_passes_through(inside: Inside, sleep: Sleep) -> None:
    """No scope takes it for its own, though it is cancelled too."""

    async def victim() -> None:
        await swallow_a_cancel()
        with bridgeio.CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            try:
                await sleep(3600)
            finally:
                me().cancel()
                with bridgeio.CancelScope(shield=True):
                    await sleep(0.001)
        await sleep(3600)

    async def main() -> int:
        task = asyncio.create_task(victim())
        await asyncio.wait([task])
        assert task.cancelled()
        return task.cancelling()

    assert inside(main) == 2


# What came in place of a native cancellation


@both_sleeps
def test_a_scope_that_is_cancelled_during_native_cleanup_does_not_swallow_the_native_cancel(
    inside: Inside, sleep: Sleep
) -> None:
    """The scope's own cancellation came up in a ``finally`` and is absorbed; the task is still cancelled, with
    the message that was given. (A deadline that passes while a cancelled task says goodbye does that.)"""
    log: list[str] = []

    async def victim() -> None:
        with bridgeio.CancelScope() as scope:
            try:
                await sleep(3600)
            finally:
                scope.cancel()
                await sleep(3600)
        log.append("left the scope")
        await sleep(3600)

    async def main() -> int:
        task = asyncio.create_task(victim())
        await turns()
        task.cancel("going down")
        with pytest.raises(asyncio.CancelledError, match="going down"):
            await task
        return task.cancelling()

    assert inside(main) == 1
    assert log == ["left the scope"]


@both_sleeps
def test_a_scope_inside_the_cleanup_leaves_the_native_cancel_to_itself(inside: Inside, sleep: Sleep) -> None:
    """It was on its way before the scope was entered, goes on after it, and does not come twice."""
    log: list[str] = []

    async def victim() -> None:
        try:
            try:
                await sleep(3600)
            finally:
                with bridgeio.move_on_after(0.001):
                    await sleep(3600)
        except asyncio.CancelledError:
            log.append("cancelled")
        await sleep(0.001)
        await sleep(0.001)
        log.append("not again")

    async def main() -> None:
        task = asyncio.create_task(victim())
        await turns()
        task.cancel()
        await task

    inside(main)
    assert log == ["cancelled", "not again"]


@both_sleeps
def test_a_timeout_that_was_left_inside_the_scope_is_over(inside: Inside, sleep: Sleep) -> None:
    """Its cancellation was overtaken by the scope's, and taken back by itself: it does not come again."""

    async def main() -> int:
        with bridgeio.CancelScope() as scope:
            try:
                async with asyncio.timeout(0.001):
                    try:
                        await sleep(3600)
                    finally:
                        scope.cancel()
                        await sleep(3600)
            except TimeoutError:  # asyncio says so since 3.13
                pass
        await sleep(0.001)
        await sleep(0.001)
        return me().cancelling()

    assert inside(main) == 0


@both_sleeps
def test_a_scope_inside_the_cleanup_of_another(inside: Inside, sleep: Sleep) -> None:
    """A shielded goodbye that takes too long: both scopes absorb what is theirs, and nothing is left counted."""

    async def main() -> tuple[bool, bool, int]:
        with bridgeio.move_on_after(0.001) as outer:
            try:
                await sleep(3600)
            finally:
                with bridgeio.move_on_after(0.001, shield=True) as inner:
                    await sleep(3600)
        return outer.cancelled_caught, inner.cancelled_caught, me().cancelling()

    assert inside(main) == (True, True, 0)


# Once, twice, in the same turn


@both_sleeps
def test_a_native_cancel_in_the_same_turn_is_not_swallowed(inside: Inside, sleep: Sleep) -> None:
    """Whichever comes first, the scope's or asyncio's: the task is cancelled (AnyIO #1214)."""

    async def victim(scope: bridgeio.CancelScope) -> None:
        with scope:
            await sleep(3600)
        await sleep(3600)

    async def main() -> None:
        for native_first in (True, False):
            scope = bridgeio.CancelScope()
            task = asyncio.create_task(victim(scope))
            await turns()
            cancels = [task.cancel, scope.cancel]
            for cancel in cancels if native_first else reversed(cancels):
                cancel()
            await asyncio.wait([task], timeout=20)
            assert task.cancelled()
            assert task.cancelling() == 1

    inside(main)


@both_sleeps
def test_a_native_cancel_in_the_same_turn_as_the_scopes_of_our_child(inside: Inside, sleep: Sleep) -> None:
    """The same in a child of a group of ours, which ends with it."""

    async def victim(scope: bridgeio.CancelScope, natives: list[asyncio.Task[Any]]) -> None:
        natives.append(me())
        with scope:
            await sleep(3600)
        await sleep(3600)

    async def main() -> None:
        for native_first in (True, False):
            scope = bridgeio.CancelScope()
            natives: list[asyncio.Task[Any]] = []
            async with bridgeio.create_task_group() as group:
                group.start_soon(victim, scope, natives)
                await turns()
                cancels = [natives[0].cancel, scope.cancel]
                for cancel in cancels if native_first else reversed(cancels):
                    cancel()
            assert natives[0].cancelled()

    inside(main)


@both_sleeps
@pytest.mark.parametrize("started_by_us", [False, True], ids=["native task", "our child"])
def test_a_native_cancel_that_waits_for_its_turn_is_not_taken_for_the_scopes(
    inside: Inside, sleep: Sleep, started_by_us: bool
) -> None:
    """A task that cancels its scope, and itself natively, before it waits: asyncio has only noted its cancel then."""
    natives: list[asyncio.Task[Any]] = []

    async def victim() -> None:
        natives.append(me())
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            me().cancel()
            await sleep(3600)
        await sleep(3600)

    async def main() -> None:
        with bridgeio.fail_after(20):
            if started_by_us:
                async with bridgeio.create_task_group() as group:
                    group.start_soon(victim)
            else:
                await asyncio.wait([asyncio.create_task(victim())])
        assert natives[0].cancelled()

    inside(main)


def test_a_native_cancel_of_a_task_that_only_gives_way(inside: Inside) -> None:
    """``asyncio.sleep(0)`` waits for nothing, so asyncio makes one cancellation of two: that is not the scope's."""
    steps: list[None] = []

    async def victim(scope: bridgeio.CancelScope) -> None:
        with scope:
            for _ in range(100_000):
                await asyncio.sleep(0)
                steps.append(None)
        await asyncio.sleep(3600)

    async def main() -> None:
        scope = bridgeio.CancelScope()
        task = asyncio.create_task(victim(scope))
        await until(lambda: steps)
        asyncio.get_running_loop().call_soon(
            task.cancel
        )  # comes between the scope's cancel and what that asks of asyncio
        scope.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
        assert task.cancelling() == 1

    inside(main)


async def asleep() -> None:
    await asyncio.sleep(3600)


async def in_a_task_of_its_own() -> None:
    await asyncio.wait_for(asyncio.sleep(3600), 3600)


@pytest.mark.parametrize("wait", [asleep, in_a_task_of_its_own])
def test_a_native_cancel_that_meets_the_scopes_own(
    inside: Inside, wait: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """It comes before the task has taken a step, and asyncio makes one of the two: the scope absorbs that one,
    cleanup is left in peace, and what is not the scope's comes after it."""
    steps: list[str] = []

    async def victim(scope: bridgeio.CancelScope) -> None:
        with scope:
            try:
                steps.append("asleep")
                await wait()
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(0.001)
                steps.append("cleaned up")
        steps.append("left")
        await asyncio.sleep(3600)

    async def main() -> None:
        scope = bridgeio.CancelScope()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(victim(scope))
        await until(lambda: steps)
        scope.cancel()
        loop.call_soon(task.cancel)  # behind what the scope asks of asyncio
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
        assert task.cancelling() == 1
        assert scope.cancelled_caught
        assert steps == ["asleep", "cleaned up", "left"]

    inside(main)


def test_of_two_cancels_that_were_kept_as_one_the_other_remains(inside: Inside) -> None:
    """A timeout and somebody else cancel a task that gives way, and the timeout takes its own back."""
    steps: list[None] = []

    async def victim() -> None:
        while me().cancelling() == 0:
            await bridgeio.lowlevel.checkpoint()
            steps.append(None)
        me().uncancel()
        await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(victim())
        await until(lambda: steps)
        for _ in range(2):
            asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
        assert task.cancelling() == 1

    inside(main)


@both_sleeps
def test_two_native_cancels_come_as_asyncio_has_them(inside: Inside, sleep: Sleep) -> None:
    """The second strikes the cleanup after the first, and both are counted."""
    log: list[str] = []

    async def victim() -> None:
        try:
            await sleep(3600)
        except asyncio.CancelledError as first:
            log.append(*first.args)
            try:
                await sleep(3600)
            except asyncio.CancelledError as second:
                log.append(*second.args)
                raise

    async def main() -> int:
        task = asyncio.create_task(victim())
        await turns()
        task.cancel("first")
        await turns()
        task.cancel("second")
        await asyncio.wait([task])
        assert task.cancelled()
        return task.cancelling()

    assert inside(main) == 2
    assert log == ["first", "second"]


def test_a_native_cancel_in_the_same_turn_as_a_result_comes_next(inside: Inside) -> None:
    """The result wins, and the cancel, with its message, strikes the next wait."""
    log: list[str] = []

    async def victim(event: bridgeio.Event) -> None:
        await event.wait()
        log.append("result")
        await bridgeio.sleep(3600)

    async def main() -> None:
        event = bridgeio.Event()
        task = asyncio.create_task(victim(event))
        await turns()
        event.set()
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert task.cancelling() == 1

    inside(main)
    assert log == ["result"]


def test_a_native_cancel_that_was_kept_survives_the_scope_that_is_left(inside: Inside) -> None:
    """It came with a result, in a block that a scope had ended natively: what the scope takes back when it is
    left is its own, and not this."""

    async def victim(event: bridgeio.Event, scope: bridgeio.CancelScope) -> None:
        with scope:
            try:
                await asyncio.sleep(3600)
            finally:
                with bridgeio.CancelScope(shield=True):
                    await event.wait()
        await bridgeio.sleep(3600)

    async def main() -> None:
        event, scope = bridgeio.Event(), bridgeio.CancelScope()
        task = asyncio.create_task(victim(event, scope))
        await turns()
        scope.cancel()
        await turns(5)
        event.set()
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()

    inside(main)


def test_a_fresh_error_in_place_of_the_scopes_is_the_scopes(world: str) -> None:
    """A library that raises an error of its own making for the one it got (before Python 3.12 `Condition.wait`
    does) hides nothing, in a task where a native cancel was swallowed before."""
    caught: list[bool] = []

    async def wait_badly() -> None:
        cancelled = False
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def child() -> None:
        await swallow_a_cancel()
        with bridgeio.move_on_after(0.001) as scope:
            await wait_badly()
        caught.append(scope.cancelled_caught)

    bridgeio.run(child, backend=world)
    assert caught == [True]


@both_sleeps
def test_a_native_cancel_in_a_shielded_goodbye_is_not_the_scopes(inside: Inside, sleep: Sleep) -> None:
    """A scope was cancelled, its cleanup has had a scope of its own, and then comes asyncio's cancel: the outer
    scope does not take that for one of those."""

    async def victim(scope: bridgeio.CancelScope, in_goodbye: list[bool]) -> None:
        with scope:
            try:
                await sleep(3600)
            finally:
                with bridgeio.move_on_after(0.001, shield=True):
                    await sleep(3600)
                with bridgeio.CancelScope(shield=True):
                    in_goodbye.append(True)
                    await sleep(3600)
        await sleep(3600)

    async def main() -> None:
        scope, in_goodbye = bridgeio.CancelScope(), list[bool]()
        task = asyncio.create_task(victim(scope, in_goodbye))
        await turns()
        scope.cancel()
        await until(lambda: in_goodbye)
        await turns()
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()

    inside(main)
