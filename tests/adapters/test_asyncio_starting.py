"""How tasks of ours begin on asyncio: once, always, and not in the middle of somebody else's step."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_task
from loops import run_native, turns

Main = Callable[[], Coroutine[Any, Any, Any]]
Inside = Callable[[Main], Any]

needs_eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")


def eager_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """`asyncio.eager_task_factory`, which in early versions of Python 3.13 refuses what uvloop passes to it."""
    options["eager_start"] = True
    return asyncio.Task(coro, loop=loop, **options)


def make_eager() -> None:
    asyncio.get_running_loop().set_task_factory(eager_factory)


def wrapping_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """A factory as tracers install it: it wants to await the coroutine in one of its own."""

    async def traced() -> Any:
        return await coro

    return asyncio.Task(traced(), loop=loop, **options)


def leave_factory() -> None:
    """asyncio's own way to make tasks."""


def install_wrapping_factory() -> None:
    asyncio.get_running_loop().set_task_factory(wrapping_factory)


FACTORIES = [leave_factory, install_wrapping_factory, pytest.param(make_eager, marks=needs_eager)]


# Cancelled before the first step


@pytest.mark.parametrize("install", FACTORIES)
def test_a_task_cancelled_natively_before_its_first_step_starts_all_the_same(
    inside: Inside, install: Callable[[], None]
) -> None:
    """It is cancelled at its first wait, so what was passed to it can be closed, and its group ends."""
    log: list[str] = []

    async def child() -> None:
        log.append("started")
        try:
            await bridgeio.sleep_forever()
        finally:
            log.append("closed what it was given")

    async def main() -> None:
        install()
        async with bridgeio.create_task_group() as group:
            before = asyncio.all_tasks()
            group.start_soon(child)
            (native,) = asyncio.all_tasks() - before
            assert native.cancel("early")

    inside(main)
    assert log == ["started", "closed what it was given"]


def test_the_task_that_was_cancelled_early_is_cancelled(world: str) -> None:
    """Who looks at the `asyncio.Task` sees a cancelled one, its message and its count, as of any other."""

    async def main() -> tuple[bool, int, str]:
        natives: list[asyncio.Task[Any]] = []
        async with bridgeio.create_task_group() as group:
            before = asyncio.all_tasks()
            group.start_soon(bridgeio.sleep_forever)
            natives.extend(asyncio.all_tasks() - before)
            natives[0].cancel("early")
        with pytest.raises(asyncio.CancelledError) as caught:
            await natives[0]
        return natives[0].cancelled(), natives[0].cancelling(), caught.value.args[0]

    assert run_native(world, main) == (True, 1, "early")


def test_an_early_cancel_comes_out_of_a_function_that_does_not_wait(world: str) -> None:
    """A task that ends in its first step has run, and counts as cancelled, as asyncio has it."""
    log: list[str] = []

    async def child() -> None:
        log.append("ran")

    async def main() -> bool:
        async with bridgeio.create_task_group() as group:
            before = asyncio.all_tasks()
            group.start_soon(child)
            (native,) = asyncio.all_tasks() - before
            native.cancel()
        return native.cancelled()

    assert run_native(world, main)
    assert log == ["ran"]


@pytest.mark.parametrize("install", FACTORIES)
def test_a_loop_that_ends_ends_groups_whose_children_have_not_begun(world: str, install: Callable[[], None]) -> None:
    """`asyncio.run` cancels what is left. A group among that, with children new and old, ends with it."""
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            ended.append(name)

    async def main() -> None:
        install()

        async def host() -> None:
            async with bridgeio.create_task_group() as group:
                group.start_soon(child, "old")
                await asyncio.sleep(0)
                group.start_soon(child, "new")
                left.set_result(None)

        left = asyncio.get_running_loop().create_future()
        tasks.append(asyncio.create_task(host()))
        await left

    tasks: list[asyncio.Task[None]] = []
    run_native(world, main)
    assert sorted(ended) == ["new", "old"]
    assert tasks[0].cancelled()


# Eager tasks


@needs_eager
def test_start_soon_returns_before_the_child_begins(inside: Inside) -> None:
    """Also where the application's tasks begin at once: code between two waits is atomic."""
    log: list[str] = []

    async def child() -> None:
        log.append("child")

    async def main() -> None:
        make_eager()
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
            log.append("start_soon has returned")

    inside(main)
    assert log == ["start_soon has returned", "child"]


@needs_eager
def test_start_works_with_eager_tasks(inside: Inside) -> None:
    """A child that says ``started`` and ends at once hands its value over, and one that fails raises."""

    async def child(value: int, *, task_status: bridgeio.TaskStatus[int]) -> None:
        if not value:
            raise LookupError
        task_status.started(value)

    async def main() -> int:
        make_eager()
        async with bridgeio.create_task_group() as group:
            with pytest.raises(LookupError):
                await group.start(child, 0)
            value: int = await group.start(child, 7)
        return value

    assert inside(main) == 7


@needs_eager
def test_an_eager_native_task_is_not_the_task_that_made_it(inside: Inside) -> None:
    """It takes its first step in the middle of ours, with a copy of our context, and is another task: its
    scopes are its own, and so are its waits."""

    async def eager() -> object:
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await bridgeio.sleep_forever()
        assert scope.cancelled_caught
        await bridgeio.sleep(0)
        return current_task()

    async def main() -> None:
        make_eager()
        me = current_task()
        task = asyncio.create_task(eager())
        assert current_task() is me
        await bridgeio.sleep(0)
        assert await task is not me

    inside(main)


@needs_eager
def test_an_eager_native_task_in_a_step_that_bytes_have_woken(world: str) -> None:
    """The same in a step that asyncio does not see."""
    from bridgeio.testing.peers import peer_stream

    async def eager() -> object:
        record = current_task()
        await bridgeio.sleep(0)
        return record

    async def main() -> None:
        make_eager()
        async with peer_stream() as (reader, _, peer):
            me = current_task()
            asyncio.get_running_loop().call_soon(peer.send, b"x")
            assert await reader.read(1) == b"x"
            task = asyncio.create_task(eager())
            assert current_task() is me
            assert await task is not me

    bridgeio.run(main, backend=world)


@needs_eager
def test_a_native_eager_task_that_ends_at_once_leaves_no_record(world: str) -> None:
    """A host remembers tasks that live, and a task that has ended before anybody saw it does not."""

    async def eager() -> None:
        with bridgeio.CancelScope():
            pass

    async def main() -> bool:
        make_eager()
        tasks: Any = current_task().host.tasks
        task = asyncio.create_task(eager())
        assert task.done()
        await turns()
        return task in tasks

    assert bridgeio.run(main, backend=world) is False


# Factories


def test_tasks_of_ours_come_from_the_applications_factory(inside: Inside) -> None:
    """Who installs a factory, to trace or to count, gets bridgeio's tasks too, under their names."""
    names: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        loop.call_soon(lambda: names.append(task.get_name()))
        return task

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.sleep, 0.001, name="Ishmael")

    inside(main)
    assert names[0] == "Ishmael"
