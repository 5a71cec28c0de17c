"""asyncio's cancellation and ours, in one task: each passes through the other as what it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import bridgeio
from loops import run_native, turns

# Native cancellation passes through as what it is


def test_a_native_cancel_ends_a_read_and_loses_nothing(world: str) -> None:
    """`Task.cancel` in the middle of a read: the bytes that come later go to the next read."""

    async def main() -> bytes:
        async with bridgeio.serve(greet_when_asked, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                waiting = asyncio.create_task(reader.readline())
                await turns()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                writer.write(b"?\n")
                return await reader.readline()

    assert run_native(world, main) == b"hello\n"


async def greet_when_asked(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    await reader.readline()
    writer.write(b"hello\n")


def test_a_native_cancel_waits_for_shielded_children(world: str) -> None:
    """A group whose host is cancelled natively ends its children first, and then passes the cancel on."""
    log: list[str] = []

    async def child(release: asyncio.Event) -> None:
        with bridgeio.CancelScope(shield=True):
            await release.wait()
        log.append("child has cleaned up")

    async def main() -> None:
        release = asyncio.Event()

        async def host() -> None:
            async with bridgeio.create_task_group() as group:
                group.start_soon(child, release)
            log.append("not reached")

        task = asyncio.create_task(host())
        await turns()
        task.cancel()
        await turns(10)
        assert not task.done()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    run_native(world, main)
    assert log == ["child has cleaned up"]


def test_a_native_cancel_that_cannot_end_a_wait_costs_nothing_meanwhile() -> None:
    """While a cancelled host waits for its children, the loop sleeps: nothing is delivered again and again."""
    loop_turns: list[int] = []

    async def main() -> None:
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def child() -> None:
            with bridgeio.CancelScope(shield=True):
                await release.wait()

        async def host() -> None:
            async with bridgeio.create_task_group() as group:
                group.start_soon(child)

        task = asyncio.create_task(host())
        await turns()
        task.cancel()
        await turns(5)
        loop_turns.append(len(loop._ready))  # type: ignore[attr-defined]
        release.set()
        await asyncio.wait([task])

    bridgeio.run(main)
    assert loop_turns == [0]


def test_asyncio_timeout_ends_a_bridgeio_wait(world: str) -> None:
    """`asyncio.timeout` around our waits raises its own TimeoutError, and the task is not left cancelled."""

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bridgeio.sleep_forever()
        return task.cancelling()

    assert run_native(world, main) == 0


def test_a_scope_does_not_swallow_a_native_cancel_of_the_same_turn(world: str) -> None:
    """Cancelled by its scope and natively at once: the scope takes its own, and the native one still comes."""
    log: list[str] = []

    async def main() -> None:
        scope = bridgeio.CancelScope()

        async def victim() -> None:
            with scope:
                await bridgeio.sleep_forever()
            log.append("left the scope")
            await bridgeio.sleep_forever()

        task = asyncio.create_task(victim())
        await turns()
        scope.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_native(world, main)
    assert log == ["left the scope"]


def run_in(world: str, started_by_us: bool, main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return bridgeio.run(main, backend=world) if started_by_us else run_native(world, main)


@pytest.mark.parametrize("started_by_us", [True, False], ids=["our task", "native task"])
def test_a_timeout_does_not_outlive_its_block(world: str, started_by_us: bool) -> None:
    """When a result and an `asyncio.timeout` come in one turn the result wins, and nothing is left of the
    other: its cancellation must not strike the task somewhere else."""

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        event = bridgeio.Event()
        log: list[str] = []
        async with asyncio.timeout(None) as timeout:
            loop.call_soon(event.set)
            loop.call_soon(timeout._on_timeout)  # type: ignore[attr-defined]
            await event.wait()
            log.append("result")
        await bridgeio.sleep(0.001)
        await asyncio.sleep(0.001)
        return log

    assert run_in(world, started_by_us, main) == ["result"]


@pytest.mark.parametrize("started_by_us", [True, False], ids=["our task", "native task"])
def test_a_native_cancel_while_a_child_starts(world: str, started_by_us: bool) -> None:
    """It ends the child and comes out of ``start``, where `asyncio.timeout` finds it."""

    async def never_starts(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await bridgeio.sleep_forever()

    async def main() -> str:
        async with bridgeio.create_task_group() as group:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await group.start(never_starts)
            await bridgeio.sleep(0.001)
        return "went on"

    assert run_in(world, started_by_us, main) == "went on"


@pytest.mark.parametrize("started_by_us", [True, False], ids=["our task", "native task"])
def test_a_native_cancel_is_not_lost_to_a_childs_failure(world: str, started_by_us: bool) -> None:
    """The failure comes out of the group, and the cancel at the next wait after it."""
    log: list[str] = []

    async def fail() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            raise ValueError("mine")

    async def victim() -> None:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(fail)
                await bridgeio.sleep_forever()
        except* ValueError:
            log.append("failure")
        await bridgeio.sleep_forever()

    async def main() -> None:
        task = asyncio.create_task(victim())
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        log.append("cancelled")

    run_in(world, started_by_us, main)
    assert log == ["failure", "cancelled"]


# Scopes end native waits, once


@pytest.mark.parametrize("started_by_us", [True, False], ids=["our task", "native task"])
def test_a_scope_ends_a_native_wait_once(world: str, started_by_us: bool) -> None:
    """A native wait gets one cancellation for a scope's cancel, and its cleanup may wait natively."""
    cancellations: list[str] = []

    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        with bridgeio.move_on_after(0.01) as scope:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancellations.append("once")
                await asyncio.sleep(0.01)
                cancellations.append("cleaned up")
                raise
        assert scope.cancelled_caught
        await asyncio.sleep(0)
        return task.cancelling()

    left = bridgeio.run(main, backend=world) if started_by_us else run_native(world, main)
    assert (cancellations, left) == (["once", "cleaned up"], 0)


@pytest.mark.parametrize("started_by_us", [True, False], ids=["our task", "native task"])
def test_a_native_wait_that_begins_in_a_cancelled_scope_is_ended(world: str, started_by_us: bool) -> None:
    """A scope cancelled while its task runs ends the native wait that comes next."""

    async def main() -> bool:
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await asyncio.sleep(3600)
        return scope.cancelled_caught

    assert bridgeio.run(main, backend=world) if started_by_us else run_native(world, main)


async def leave_a_shield(outer: bridgeio.CancelScope) -> None:
    with bridgeio.CancelScope(shield=True):
        outer.cancel()
        await bridgeio.sleep(0)


async def leave_a_shield_that_ended_by_itself(outer: bridgeio.CancelScope) -> None:
    with bridgeio.move_on_after(0.01, shield=True):
        outer.cancel()
        await asyncio.sleep(3600)


@pytest.mark.parametrize("started_by_us", [True, False], ids=["our task", "native task"])
@pytest.mark.parametrize("leave", [leave_a_shield, leave_a_shield_that_ended_by_itself])
def test_a_native_wait_after_a_shield_is_ended(
    world: str, leave: Callable[[bridgeio.CancelScope], Coroutine[Any, Any, None]], started_by_us: bool
) -> None:
    """A cancel that came while a shield stood between ends the first native wait after it."""

    async def main() -> bool:
        with bridgeio.CancelScope() as scope:
            await leave(scope)
            await asyncio.sleep(3600)
        return scope.cancelled_caught

    assert bridgeio.run(main, backend=world) if started_by_us else run_native(world, main)


@pytest.mark.parametrize("started_by_us", [True, False], ids=["our task", "native task"])
def test_a_native_wait_in_a_scope_that_was_cancelled_before_is_ended(world: str, started_by_us: bool) -> None:
    """Also if the scope was cancelled before it was entered."""

    async def main() -> bool:
        scope = bridgeio.CancelScope()
        scope.cancel()
        with scope:
            await asyncio.sleep(3600)
        return scope.cancelled_caught

    assert bridgeio.run(main, backend=world) if started_by_us else run_native(world, main)


def test_a_result_that_is_there_is_not_lost_to_a_cancel(world: str) -> None:
    """A native future that is done when the scope is cancelled gives its result; the cancel comes next."""
    log: list[str] = []

    async def main() -> None:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        scope = bridgeio.CancelScope()

        async def waiter() -> None:
            with scope:
                log.append(await future)
                await bridgeio.sleep_forever()
            log.append("cancelled after")

        async with bridgeio.create_task_group() as group:
            group.start_soon(waiter)
            await turns()
            future.set_result("the result")
            scope.cancel()

    bridgeio.run(main, backend=world)
    assert log == ["the result", "cancelled after"]


def test_asyncio_task_groups_work_inside_scopes(world: str) -> None:
    """`asyncio.TaskGroup` inside a scope of ours is cancelled with it, children and all."""
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            ended.append(name)

    async def main() -> bool:
        with bridgeio.move_on_after(0.01) as scope:
            async with asyncio.TaskGroup() as group:
                group.create_task(child("first"))
                group.create_task(child("second"))
        return scope.cancelled_caught

    assert bridgeio.run(main, backend=world)
    assert sorted(ended) == ["first", "second"]
