"""Queues and memory streams under each framework's own cancellation: it may come at the worst moment, and no item
is lost, doubled or out of its order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from native_starts import STARTS


class OfQueue:
    """The words of a `bridgeio.Queue` for what is tested here."""

    def __init__(self) -> None:
        self.queue: bridgeio.Queue[int] = bridgeio.Queue(1)
        self.put, self.get = self.queue.put, self.queue.get
        self.put_nowait, self.get_nowait = self.queue.put_nowait, self.queue.get_nowait

    def waiting(self) -> tuple[int, int]:
        statistics = self.queue.statistics()
        return statistics.tasks_waiting_put, statistics.tasks_waiting_get

    def close(self) -> None:
        self.queue.shutdown(immediate=True)


class OfStream:
    """The words of a memory object stream for the same."""

    def __init__(self) -> None:
        self.send, self.receive = bridgeio.create_memory_object_stream[int](1)
        self.put, self.get = self.send.send, self.receive.receive
        self.put_nowait, self.get_nowait = self.send.send_nowait, self.receive.receive_nowait

    def waiting(self) -> tuple[int, int]:
        statistics = self.send.statistics()
        return statistics.tasks_waiting_send, statistics.tasks_waiting_receive

    def close(self) -> None:
        self.send.close()
        self.receive.close()


KINDS: dict[str, Callable[[], Any]] = {"Queue": OfQueue, "memory stream": OfStream}


def left_in(kind: Any) -> list[int]:
    items: list[int] = []
    try:
        while True:
            items.append(kind.get_nowait())
    except bridgeio.WouldBlock:
        return items


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("item_first", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_an_item_and_a_native_cancel(framework: str, name: str, item_first: bool, after: int) -> None:
    """The getter that is cancelled has the item, or the next in line has it, or it is there still. AnyIO #728."""
    kind = KINDS[name]()
    got: list[tuple[str, int]] = []

    async def get(who: str) -> None:
        got.append((who, await kind.get()))

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            cancel = STARTS[framework](group, lambda: get("victim"))
            await until(lambda: kind.waiting() == (0, 1))
            group.start_soon(get, "next")
            await until(lambda: kind.waiting() == (0, 2))
            steps = [lambda: kind.put_nowait(1), cancel]
            first, second = steps if item_first else reversed(steps)
            first()
            for _ in range(after):
                await bridgeio.sleep(0)
            second()
            kind.put_nowait(2)
            await until(lambda: kind.waiting() == (0, 0))
        got.extend(("left", item) for item in left_in(kind))

    bridgeio.run(main, backend=framework)
    kind.close()
    assert sorted(item for _, item in got) == [1, 2]
    assert not item_first or ("victim", 1) in got
    assert item_first or after < 4 or ("next", 1) in got


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("room_first", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_room_and_a_native_cancel(framework: str, name: str, room_first: bool, after: int) -> None:
    """An item is there once if its ``put`` was not broken off, and not at all if it was."""
    kind = KINDS[name]()
    returned: list[int] = []
    items: list[int] = []

    async def put() -> None:
        await kind.put(1)
        returned.append(1)

    async def main() -> None:
        kind.put_nowait(0)
        async with bridgeio.create_task_group() as group:
            cancel = STARTS[framework](group, put)
            await until(lambda: kind.waiting() == (1, 0))
            steps = [lambda: items.append(kind.get_nowait()), cancel]
            first, second = steps if room_first else reversed(steps)
            first()
            for _ in range(after):
                await bridgeio.sleep(0)
            second()
        items.extend(left_in(kind))

    bridgeio.run(main, backend=framework)
    kind.close()
    assert items == [0, *returned]
    assert not room_first or returned == [1]
