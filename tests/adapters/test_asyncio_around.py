"""asyncio's own ways to bound and bundle work, around bridgeio code: each does what it does with its own."""

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


async def group_of_two(ended: list[str], sleep: Sleep, when_started: Callable[[], object] = bool) -> None:
    """Two children that wait for ever. When both have begun, something may be done about that."""

    async def child(name: str) -> None:
        if name == "second":
            asyncio.get_running_loop().call_soon(when_started)
        try:
            await sleep(3600)
        finally:
            ended.append(name)

    async with bridgeio.create_task_group() as group:
        group.start_soon(child, "first")
        group.start_soon(child, "second")


# asyncio.timeout


@both_sleeps
def test_a_timeout_around_a_group_ends_it(inside: Inside, sleep: Sleep) -> None:
    """Its children end first; then comes the TimeoutError, and the task is not left cancelled."""
    ended: list[str] = []

    async def main() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await group_of_two(ended, sleep)
        return me().cancelling()

    assert inside(main) == 0
    assert sorted(ended) == ["first", "second"]


@both_sleeps
def test_a_timeout_that_is_put_off_waits(inside: Inside, sleep: Sleep) -> None:
    """`Timeout.reschedule` works while a group of ours waits in it, and from a child of that group too."""
    ended: list[str] = []

    async def main() -> int:
        with pytest.raises(TimeoutError):
            await put_off()
        return me().cancelling()

    async def put_off() -> None:
        async with asyncio.timeout(3600) as timeout, bridgeio.create_task_group() as group:

            async def hurry() -> None:
                timeout.reschedule(None)
                await sleep(0.001)
                timeout.reschedule(asyncio.get_running_loop().time())

            group.start_soon(hurry)
            await group_of_two(ended, sleep)

    assert inside(main) == 0
    assert sorted(ended) == ["first", "second"]


@both_sleeps
def test_a_timeout_inside_a_scope_ends_its_block_alone(inside: Inside, sleep: Sleep) -> None:
    """The scope around it is not cancelled by it, and works afterwards."""

    async def main() -> list[bool]:
        with bridgeio.CancelScope() as scope:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await sleep(3600)
            before = scope.cancel_called
            scope.deadline = bridgeio.current_time() + 0.001
            await sleep(3600)
        return [before, scope.cancelled_caught]

    assert inside(main) == [False, True]


@both_sleeps
def test_a_scope_inside_a_timeout_leaves_it_working(inside: Inside, sleep: Sleep) -> None:
    """After a scope was cancelled in it, `asyncio.timeout` still ends its block with TimeoutError (AnyIO #790)."""

    async def main() -> int:
        with pytest.raises(TimeoutError):
            await scopes_in_a_timeout()
        return me().cancelling()

    async def scopes_in_a_timeout() -> None:
        async with asyncio.timeout(None) as timeout:
            for _ in range(3):
                with bridgeio.move_on_after(0.001) as scope:
                    await sleep(3600)
                assert scope.cancelled_caught
                assert me().cancelling() == 0
            timeout.reschedule(asyncio.get_running_loop().time())
            await sleep(3600)

    assert inside(main) == 0


@both_sleeps
def test_a_timeout_around_a_cancelled_scope_that_ends_in_time(inside: Inside, sleep: Sleep) -> None:
    """Nothing of the scope's cancellation is left for the timeout to mistake, and no timeout after it."""

    async def main() -> int:
        async with asyncio.timeout(3600) as timeout:
            with bridgeio.move_on_after(0.001):
                await sleep(3600)
        assert not timeout.expired()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await sleep(3600)
        return me().cancelling()

    assert inside(main) == 0


@both_sleeps
@pytest.mark.parametrize("timeout_first", [True, False])
def test_a_timeout_outside_and_a_scope_inside_in_one_turn(inside: Inside, sleep: Sleep, timeout_first: bool) -> None:
    """Whichever comes first, the block of the timeout ends, the task goes on, and nothing is left of either."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        scope = bridgeio.CancelScope()
        try:
            async with asyncio.timeout(None) as timeout:
                ends = [timeout._on_timeout, scope.cancel]  # type: ignore[attr-defined]
                for end in ends if timeout_first else reversed(ends):
                    loop.call_soon(end)
                with scope:
                    await sleep(3600)
        except TimeoutError:
            pass
        await sleep(0.001)
        await sleep(0.001)
        return me().cancelling()

    assert inside(main) == 0


@both_sleeps
@pytest.mark.parametrize("timeout_first", [True, False])
def test_a_scope_outside_and_a_timeout_inside_in_one_turn(inside: Inside, sleep: Sleep, timeout_first: bool) -> None:
    """The same the other way round."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        with bridgeio.CancelScope() as scope:
            try:
                async with asyncio.timeout(None) as timeout:
                    ends = [timeout._on_timeout, scope.cancel]  # type: ignore[attr-defined]
                    for end in ends if timeout_first else reversed(ends):
                        loop.call_soon(end)
                    await sleep(3600)
            except TimeoutError:
                pass
            await sleep(3600)
        await sleep(0.001)
        await sleep(0.001)
        return me().cancelling()

    assert inside(main) == 0


# asyncio.TaskGroup


@both_sleeps
def test_a_task_group_of_asyncio_ends_ours_inside_it(inside: Inside, sleep: Sleep) -> None:
    """A sibling fails: groups of ours in the body and in its tasks end with their children, and the failure
    comes out alone, with the count of cancellations as it was."""
    ended: list[str] = []

    async def fail() -> None:
        await sleep(0.001)
        raise LookupError

    async def bundle() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(group_of_two(ended, sleep))
            await group_of_two(ended, sleep)

    async def main() -> int:
        with pytest.raises(ExceptionGroup) as caught:
            await bundle()
        assert [type(error) for error in caught.value.exceptions] == [LookupError]
        await sleep(0.001)
        return me().cancelling()

    assert inside(main) == 0
    assert len(ended) == 4


@both_sleeps
def test_a_scope_ends_a_task_group_of_asyncio(inside: Inside, sleep: Sleep) -> None:
    """Body, tasks, and the groups of ours in them; the scope absorbs it, and a later one works."""
    ended: list[str] = []

    async def main() -> int:
        for _ in range(2):
            with bridgeio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(group_of_two(ended, sleep, scope.cancel))
                    await sleep(3600)
            assert scope.cancelled_caught
        return me().cancelling()

    assert inside(main) == 0
    assert len(ended) == 4


@both_sleeps
def test_a_failure_and_a_scope_in_one_turn_in_a_task_group_of_asyncio(inside: Inside, sleep: Sleep) -> None:
    """The failure is not lost, and the cancellation does not strike twice."""

    async def fail(event: asyncio.Event) -> None:
        await event.wait()
        raise LookupError

    async def bundle() -> None:
        event, loop = asyncio.Event(), asyncio.get_running_loop()
        with bridgeio.CancelScope() as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(event))
                await turns()
                loop.call_soon(event.set)
                loop.call_soon(scope.cancel)
                await sleep(3600)

    async def main() -> int:
        with pytest.raises(ExceptionGroup) as caught:
            await bundle()
        assert [type(error) for error in caught.value.exceptions] == [LookupError]
        await sleep(0.001)
        await sleep(0.001)
        return me().cancelling()

    assert inside(main) == 0


# wait_for, shield, gather, wait


@both_sleeps
def test_wait_for_ends_our_group(inside: Inside, sleep: Sleep) -> None:
    """`asyncio.wait_for` times out only when the children have ended, and leaves no cancellation behind."""
    running: set[str] = set()

    async def work() -> None:
        async with bridgeio.create_task_group() as group:
            for name in ("first", "second"):
                group.start_soon(child, name)

    async def child(name: str) -> None:
        running.add(name)
        try:
            await sleep(3600)
        finally:
            with bridgeio.CancelScope(shield=True):
                await sleep(0.001)
            running.discard(name)

    async def main() -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(), 0.02)
        assert not running
        return me().cancelling()

    assert inside(main) == 0


@both_sleeps
def test_a_scope_ends_wait_for(inside: Inside, sleep: Sleep) -> None:
    """And what that waits for, with its cleanup."""
    ended: list[str] = []

    async def main() -> bool:
        with bridgeio.CancelScope() as scope:
            await asyncio.wait_for(group_of_two(ended, sleep, scope.cancel), 3600)
        return scope.cancelled_caught

    assert inside(main)
    assert sorted(ended) == ["first", "second"]


@both_sleeps
def test_what_asyncio_shields_outlives_the_scope(inside: Inside, sleep: Sleep) -> None:
    """`asyncio.shield` is left at once when the scope is cancelled; the task behind it goes on to its end."""

    async def work(released: asyncio.Event) -> str:
        await released.wait()
        await sleep(0)
        return "done"

    async def main() -> str:
        released = asyncio.Event()
        task = asyncio.create_task(work(released))
        with bridgeio.move_on_after(0.001) as scope:
            await asyncio.shield(task)
        assert scope.cancelled_caught
        released.set()
        return await task

    assert inside(main) == "done"


@both_sleeps
def test_a_scope_ends_gather_and_all_that_is_gathered(inside: Inside, sleep: Sleep) -> None:
    """Each coroutine is a task of asyncio's with scopes of its own, and is cancelled with the gathering."""
    ended: list[str] = []

    async def main() -> bool:
        before = asyncio.all_tasks()
        with bridgeio.CancelScope() as scope:
            await asyncio.gather(group_of_two(ended, sleep), group_of_two(ended, sleep, scope.cancel))
        await until(lambda: not asyncio.all_tasks() - before)
        return scope.cancelled_caught

    assert inside(main)
    assert len(ended) == 4


def test_gather_gives_the_results_of_ours(inside: Inside) -> None:
    """In order; and a failure of one is raised while the others go on, as asyncio has it."""

    async def value(number: int) -> int:
        await bridgeio.sleep(0.001)
        return number

    async def fail() -> None:
        await bridgeio.sleep(0)
        raise LookupError

    async def main() -> list[int]:
        with pytest.raises(LookupError):
            await asyncio.gather(fail(), value(0))
        return list(await asyncio.gather(value(1), value(2)))

    assert inside(main) == [1, 2]


def test_asyncios_wait_tells_ours_apart(inside: Inside) -> None:
    """`asyncio.wait` with FIRST_COMPLETED over tasks in our waits."""

    async def main() -> bool:
        soon = asyncio.create_task(bridgeio.sleep(0.001))
        never = asyncio.create_task(bridgeio.sleep_forever())
        done, pending = await asyncio.wait([soon, never], return_when=asyncio.FIRST_COMPLETED)
        never.cancel()
        await turns()
        return done == {soon} and pending == {never} and never.cancelled()

    assert inside(main)
