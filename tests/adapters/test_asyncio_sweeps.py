"""Sweeps in tasks that asyncio has started: there is no driver of ours between the loop and the coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio import lowlevel
from bridgeio.testing.suite import sweeps, sweeps_locks, sweeps_queues, sweeps_servers, sweeps_tasks

pytestmark = pytest.mark.bridgeio("asyncio", "uvloop", "tornado")

SWEEPS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "readline": lambda: sweeps.test_swept_reads("readline"),
    "drain": lambda: sweeps.test_swept_writes("drain"),
    "happy eyeballs": sweeps.test_swept_happy_eyeballs,
    "serve": lambda: sweeps_servers.test_swept_servers("serve"),
    "Lock": lambda: sweeps_locks.test_swept_locks("Lock"),
    **{name: partial(sweeps_locks.test_swept_acquires, name) for name in sweeps_locks.ACQUIRES},
    "wait_for": sweeps_locks.test_a_swept_wait_for_a_predicate,
    **{name: partial(sweeps_locks.test_swept_barriers, name) for name in sweeps_locks.MEETINGS},
    **{name: partial(sweeps_queues.test_swept_iterations, name) for name in sweeps_queues.ITEMS},
    "Condition": sweeps_locks.test_a_swept_condition,
    "Queue": lambda: sweeps_queues.test_a_swept_get(1),
    "object streams": lambda: sweeps_queues.test_swept_object_streams(0),
    **{name: partial(sweeps_tasks.test_swept_tasks, name) for name in sweeps_tasks.OPERATIONS},
}


@pytest.mark.parametrize("name", SWEEPS)
async def test_swept_in_a_native_task(name: str) -> None:
    """The same promises hold in a task of asyncio's own, and none of its cancellations is owed afterwards."""

    async def swept() -> int:
        await SWEEPS[name]()
        native = asyncio.current_task()
        assert native is not None
        return native.cancelling()

    assert await asyncio.get_running_loop().create_task(swept()) == 0


async def test_giving_way_is_no_native_wait() -> None:
    """A native task that gives way in a cancelled scope is not told by asyncio's cancel; its next native wait is."""

    async def native() -> list[object]:
        task = asyncio.current_task()
        assert task is not None
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.cancel_shielded_checkpoint()
        seen: list[object] = [scope.cancelled_caught, task.cancelling()]
        await asyncio.sleep(0)  # nothing comes late
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await lowlevel.cancel_shielded_checkpoint()
            await asyncio.get_running_loop().create_future()
        return [*seen, scope.cancelled_caught, task.cancelling()]

    assert await asyncio.get_running_loop().create_task(native()) == [False, 0, True, 0]


async def test_a_wait_that_is_over_is_no_native_wait() -> None:
    """A native task whose group ended in the turn of its cancel has left its wait, and is not told by asyncio's."""

    async def nothing() -> None: ...

    async def native() -> int:
        task = asyncio.current_task()
        assert task is not None
        async with bridgeio.create_task_group() as group:
            group.start_soon(nothing)
            group.cancel_scope.cancel()
        await asyncio.sleep(0)  # nothing comes late
        return task.cancelling()

    assert await asyncio.get_running_loop().create_task(native()) == 0
