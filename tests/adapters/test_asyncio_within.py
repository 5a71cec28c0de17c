"""What asyncio offers to wait for, inside bridgeio's scopes: ended once, nothing lost, shields respected."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import bridgeio
from loops import turns

Inside = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
Use = Callable[[], Coroutine[Any, Any, Any]]


async def use_queue() -> None:
    await asyncio.Queue[int]().get()


async def use_full_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    queue.put_nowait(1)
    await queue.put(2)


async def use_lock() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    await lock.acquire()


async def use_condition() -> None:
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def use_event() -> None:
    await asyncio.Event().wait()


async def use_semaphore() -> None:
    await asyncio.Semaphore(0).acquire()


async def use_barrier() -> None:
    await asyncio.Barrier(2).wait()


async def use_future() -> None:
    await asyncio.get_running_loop().create_future()


async def use_stream() -> None:
    await asyncio.StreamReader().read()


USES = [
    use_queue,
    use_full_queue,
    use_lock,
    use_condition,
    use_event,
    use_semaphore,
    use_barrier,
    use_future,
    use_stream,
]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_a_scope_ends_the_wait_and_absorbs_it(inside: Inside, use: Use) -> None:
    """Three times in one task, which is not left cancelled."""

    async def main() -> list[object]:
        caught: list[object] = []
        for _ in range(3):
            with bridgeio.move_on_after(0.001) as scope:
                await use()
            caught.append(scope.cancelled_caught)
        task = asyncio.current_task()
        assert task is not None
        return [*caught, task.cancelling()]

    assert inside(main) == [True, True, True, 0]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_a_shield_keeps_the_cancel_from_the_wait(inside: Inside, use: Use) -> None:
    """A cancelled scope outside does not reach it, and the shield's own deadline does."""

    async def main() -> list[bool]:
        with bridgeio.CancelScope() as outer:
            with bridgeio.CancelScope(shield=True) as shield:
                outer.cancel()
                await turns()
                shield.deadline = bridgeio.current_time() + 0.001
                await use()
            await asyncio.sleep(3600)
        return [shield.cancelled_caught, outer.cancelled_caught]

    assert inside(main) == [True, True]


def test_an_item_that_meets_a_cancel_is_not_lost(inside: Inside) -> None:
    """A put and a scope's cancel in one turn: either the getter has the item, or the queue has."""

    async def get(queue: asyncio.Queue[int], scope: bridgeio.CancelScope, got: list[int]) -> None:
        with scope:
            got.append(await queue.get())

    async def main() -> None:
        for cancel_first in (True, False):
            queue: asyncio.Queue[int] = asyncio.Queue()
            scope, got = bridgeio.CancelScope(), list[int]()
            async with bridgeio.create_task_group() as group:
                group.start_soon(get, queue, scope, got)
                await turns()
                if cancel_first:
                    scope.cancel()
                queue.put_nowait(1)
                scope.cancel()
            assert len(got) + queue.qsize() == 1

    inside(main)


def test_a_lock_that_meets_a_cancel_is_free_afterwards(inside: Inside) -> None:
    """A release and a scope's cancel in one turn: nobody keeps asyncio's lock without knowing."""

    async def hold(lock: asyncio.Lock, scope: bridgeio.CancelScope) -> None:
        with scope:
            async with lock:
                await bridgeio.sleep(0)

    async def main() -> None:
        for cancel_first in (True, False):
            lock, scope = asyncio.Lock(), bridgeio.CancelScope()
            await lock.acquire()
            async with bridgeio.create_task_group() as group:
                group.start_soon(hold, lock, scope)
                await turns()
                if cancel_first:
                    scope.cancel()
                lock.release()
                scope.cancel()
            assert not lock.locked()

    inside(main)


def test_a_condition_is_held_when_its_cancelled_wait_ends(inside: Inside) -> None:
    """asyncio takes the lock again before it raises, natively, inside a cancelled scope: it is let."""

    async def main() -> list[bool]:
        condition = asyncio.Condition()
        held: list[bool] = []
        with bridgeio.move_on_after(0.001) as scope:
            async with condition:
                try:
                    await condition.wait()
                finally:
                    held.append(condition.locked())
        return [*held, condition.locked(), scope.cancelled_caught]

    assert inside(main) == [True, False, True]


@pytest.mark.parametrize("how", ["to_thread", "run_in_executor"])
def test_a_thread_is_left_alone_and_its_result_is_dropped(inside: Inside, how: str) -> None:
    """A scope ends the wait for asyncio's worker thread; the thread ends by itself, as asyncio has it."""
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(30)
        ended.set()

    async def main() -> bool:
        with bridgeio.move_on_after(0.001) as scope:
            if how == "to_thread":
                await asyncio.to_thread(work)
            else:
                await asyncio.get_running_loop().run_in_executor(None, work)
        assert not ended.is_set()
        release.set()
        return scope.cancelled_caught

    assert inside(main)
    assert ended.is_set()


@pytest.mark.parametrize("how", ["to_thread", "run_in_executor"])
def test_a_thread_gives_its_result_to_a_child(inside: Inside, how: str) -> None:
    """asyncio's worker threads serve children of a group, beside waits of ours."""

    async def work(results: list[int], number: int) -> None:
        await bridgeio.sleep(0)
        if how == "to_thread":
            results.append(await asyncio.to_thread(abs, -number))
        else:
            results.append(await asyncio.get_running_loop().run_in_executor(None, abs, -number))
        await bridgeio.sleep(0)

    async def main() -> list[int]:
        results: list[int] = []
        async with bridgeio.create_task_group() as group:
            for number in range(3):
                group.start_soon(work, results, number)
        return sorted(results)

    assert inside(main) == [0, 1, 2]


def test_a_worker_thread_beside_a_busy_task_is_in_no_task(inside: Inside) -> None:
    """The thread has a copy of the task's context, and asks while the task itself is running: it is told that it
    is in no framework, and not that it is the task."""
    said: list[str] = []
    asked = threading.Event()

    def ask() -> None:
        try:
            said.append(bridgeio.current_backend())
        except bridgeio.NoBackendError:
            said.append("no framework")
        asked.set()

    async def main() -> None:
        await bridgeio.sleep(0)
        waiting = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, ask)
        asked.wait(30)  # the task runs all the while
        await waiting

    inside(main)
    assert said == ["no framework"]
