"""Chapter: stress. Crowds of tasks, deep nests of scopes and storms of cancels leave nothing behind.

Each test goes three rounds. After the third the interpreter holds as many blocks of memory as after the
second, within one per cent; and of tasks, threads and descriptors there are no more than before the first.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack

import pytest

import bridgeio
from bridgeio.testing.resources import unchanged, until

pytestmark = pytest.mark.bridgeio

CROWD = 10_000
CROWD_OF_THREADS = 1_000  # a task there is a thread of the system
SPAWNS = 34_000  # in each of three rounds, so 102,000 in all
SPAWNS_OF_THREADS = 4_000  # 12,000 in all
BATCH = 250
DEPTH = 1_000
TOLERANCE = 0.01


def _crowd() -> int:
    return CROWD_OF_THREADS if bridgeio.current_backend() == "threads" else CROWD


async def _three_rounds(one_round: Callable[[], Awaitable[None]]) -> None:
    """:raises AssertionError: if a round leaves something, or the third takes more memory than the second."""
    blocks = []
    gc.freeze()  # what was there before is nobody's leak here, and takes the collector longest
    async with unchanged():
        for _ in range(3):
            await one_round()
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    grown = blocks[2] - blocks[1]
    assert grown <= TOLERANCE * blocks[1], f"blocks after each round: {blocks}"


async def test_a_crowd_of_tasks() -> None:
    """10,000 tasks (1,000 on threads) wait in one group for one event, and all go on when it is set."""

    async def one_round() -> None:
        event, number, woken = bridgeio.Event(), _crowd(), []

        async def wait() -> None:
            await event.wait()
            woken.append(1)

        async with bridgeio.create_task_group() as group:
            for _ in range(number):
                group.start_soon(wait)
            await until(lambda: event.statistics().tasks_waiting == number)
            event.set()
        assert len(woken) == number

    await _three_rounds(one_round)


async def test_a_crowd_that_is_cancelled() -> None:
    """The same crowd is cancelled while it waits, one half for an event, the other for a time that is far away."""

    async def one_round() -> None:
        event, number, waiting, ended = bridgeio.Event(), _crowd(), [], []

        async def wait(for_event: int) -> None:
            waiting.append(1)
            try:
                await (event.wait() if for_event else bridgeio.sleep(1000))
            finally:
                ended.append(1)

        async with bridgeio.create_task_group() as group:
            for one in range(number):
                group.start_soon(wait, one % 2)
            await until(lambda: len(waiting) == number)
            group.cancel_scope.cancel()
        assert len(ended) == number
        assert event.statistics().tasks_waiting == 0

    await _three_rounds(one_round)


async def test_many_spawns() -> None:
    """102,000 tasks (12,000 on threads) come and go in one group, in batches, and it forgets each."""

    async def one_round() -> None:
        number = SPAWNS_OF_THREADS if bridgeio.current_backend() == "threads" else SPAWNS
        ended = 0

        async def child() -> None:
            nonlocal ended
            ended += 1

        async with bridgeio.create_task_group() as group:
            for started in range(BATCH, number + 1, BATCH):
                for _ in range(BATCH):
                    group.start_soon(child)
                while ended < started:
                    await bridgeio.sleep(0)
        assert ended == number

    await _three_rounds(one_round)


async def test_a_deep_nest_of_scopes() -> None:
    """1,000 scopes deep in an ExitStack, the outermost cancelled: it alone absorbs, and all are left."""

    async def one_round() -> None:
        with ExitStack() as stack:
            scopes = [stack.enter_context(bridgeio.CancelScope()) for _ in range(DEPTH)]
            await bridgeio.sleep(0)
            scopes[0].cancel()
            await bridgeio.sleep_forever()
        assert [scope for scope in scopes if scope.cancelled_caught] == scopes[:1]

    await _three_rounds(one_round)


async def test_a_deep_nest_of_groups() -> None:
    """100 groups deep, a child in each, the outermost cancelled: every child ends, and each group waits for its own."""
    depth, ended = 100, 0

    async def child() -> None:
        nonlocal ended
        try:
            await bridgeio.sleep_forever()
        finally:
            ended += 1

    async def one_round() -> None:
        nonlocal ended
        ended = 0
        async with AsyncExitStack() as stack:
            groups = [await stack.enter_async_context(bridgeio.create_task_group()) for _ in range(depth)]
            for group in groups:
                group.start_soon(child)
            await bridgeio.sleep(0)
            groups[0].cancel_scope.cancel()
        assert ended == depth

    await _three_rounds(one_round)


async def test_a_storm_of_cancels() -> None:
    """A tenth of the crowd is cancelled by deadlines, by hand and through its group, again and again."""

    async def one_round() -> None:
        survived = 0

        async def child(number: int) -> None:
            nonlocal survived
            for turn in range(5):
                with bridgeio.move_on_after(0.0005 * ((number + turn) % 7)):
                    await bridgeio.sleep_forever()
                with bridgeio.CancelScope() as scope:
                    scope.cancel()
                    scope.cancel()
                    await bridgeio.sleep_forever()
            survived += 1
            await bridgeio.sleep_forever()

        number = _crowd() // 10
        async with bridgeio.create_task_group() as group:
            for one in range(number):
                group.start_soon(child, one)
            await until(lambda: survived == number)
            group.cancel_scope.cancel()
            group.cancel_scope.cancel()

    await _three_rounds(one_round)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
