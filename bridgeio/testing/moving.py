"""Items on their way from tasks to tasks, all of which are cancelled again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import bridgeio

__all__ = ["move_under_constant_cancels"]

Item = tuple[int, int]

PRODUCERS, CONSUMERS, EACH = 3, 2, 200


async def move_under_constant_cancels(
    put: Callable[[Item], Awaitable[object]], get: Callable[[], Awaitable[Item]]
) -> None:
    """Has several tasks put and several get, and cancels each of them in every turn.

    :raises AssertionError: if an item was lost or came twice, or if nobody was ever cancelled.
    """
    every = [(who, number) for who in range(PRODUCERS) for number in range(EACH)]
    scopes: dict[object, bridgeio.CancelScope] = {}
    got: list[Item] = []
    cancelled = 0

    async def produce(who: int) -> None:
        number = 0
        while number < EACH:
            with bridgeio.CancelScope() as scope:
                scopes["producer", who] = scope
                await put((who, number))
                number += 1
                await bridgeio.sleep(0)

    async def consume(who: int) -> None:
        nonlocal cancelled
        while len(got) < len(every):
            with bridgeio.CancelScope() as scope:
                scopes["consumer", who] = scope
                got.append(await get())
            cancelled += scope.cancelled_caught

    async with bridgeio.create_task_group() as group:
        for who in range(PRODUCERS):
            group.start_soon(produce, who)
        for who in range(CONSUMERS):
            group.start_soon(consume, who)
        while len(got) < len(every):
            for scope in scopes.values():
                scope.cancel()
            await bridgeio.sleep(0)
        group.cancel_scope.cancel()
    assert sorted(got) == every
    assert cancelled > 0
