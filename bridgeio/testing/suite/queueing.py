"""Chapter: queueing. Each item comes out once and in order, whoever is cancelled, and whenever."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio import Queue
from bridgeio.testing.meetings import in_a_run_of_its_own, turns, when
from bridgeio.testing.moving import move_under_constant_cancels
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


async def _get_into(got: list[int], queue: Queue[int], scope: bridgeio.CancelScope | None = None) -> None:
    with scope or bridgeio.CancelScope():
        got.append(await queue.get())


async def _put_from(queue: Queue[int], *items: int) -> None:
    for item in items:
        await queue.put(item)


async def test_items_come_out_in_the_order_they_were_put() -> None:
    """Items come out in the order in which they were put, and the queue counts them."""
    queue: Queue[int] = Queue()
    await _put_from(queue, 1, 2)
    queue.put_nowait(3)
    assert (queue.qsize(), queue.empty(), queue.full(), queue.maxsize) == (3, False, False, 0)
    assert [await queue.get(), queue.get_nowait(), await queue.get()] == [1, 2, 3]
    assert (queue.qsize(), queue.empty()) == (0, True)


async def test_what_cannot_be_done_without_waiting() -> None:
    """``put_nowait`` and ``get_nowait`` raise QueueFull and QueueEmpty, which are WouldBlock, and take nothing."""
    queue: Queue[int] = Queue(1)
    with pytest.raises(bridgeio.QueueEmpty) as nothing:
        queue.get_nowait()
    queue.put_nowait(1)
    assert queue.full()
    with pytest.raises(bridgeio.QueueFull) as full:
        queue.put_nowait(2)
    assert isinstance(nothing.value, bridgeio.WouldBlock)
    assert isinstance(full.value, bridgeio.WouldBlock)
    assert (queue.get_nowait(), queue.empty()) == (1, True)


@pytest.mark.parametrize("maxsize", [1.5, "1", None])
async def test_what_is_no_size_of_a_queue(maxsize: Any) -> None:
    """It is a TypeError where it is given."""
    with pytest.raises(TypeError, match="maxsize must be an integer, not"):
        Queue(maxsize)


async def test_getters_are_served_in_their_order() -> None:
    """An item goes to the task that has waited longest, at once: a later ``get_nowait`` finds nothing."""
    queue: Queue[int] = Queue()
    got: list[tuple[str, int]] = []

    async def get(name: str) -> None:
        got.append((name, await queue.get()))

    async with bridgeio.create_task_group() as group:
        for number, name in enumerate("abc", 1):
            group.start_soon(get, name)
            await until(lambda number=number: queue.statistics().tasks_waiting_get == number)  # type: ignore[misc]
        for item in (1, 2, 3):
            queue.put_nowait(item)
        with pytest.raises(bridgeio.QueueEmpty):
            queue.get_nowait()
    assert sorted(got) == [("a", 1), ("b", 2), ("c", 3)]


async def test_putters_are_served_in_their_order() -> None:
    """The item of the task that has waited longest for room is in the queue as soon as there is room."""
    queue: Queue[int] = Queue(1)
    queue.put_nowait(0)
    async with bridgeio.create_task_group() as group:
        for item in (1, 2, 3):
            group.start_soon(queue.put, item)
            await until(lambda item=item: queue.statistics().tasks_waiting_put == item)  # type: ignore[misc]
        assert [queue.get_nowait() for _ in range(4)] == [0, 1, 2, 3]
        assert queue.empty()


async def test_nobody_gets_past_those_who_wait() -> None:
    """A ``put_nowait`` in the turn in which room was made finds it given to the task that was waiting."""
    queue: Queue[int] = Queue(1)
    queue.put_nowait(0)
    async with bridgeio.create_task_group() as group:
        group.start_soon(queue.put, 1)
        await until(lambda: queue.statistics().tasks_waiting_put)
        assert queue.get_nowait() == 0
        with pytest.raises(bridgeio.QueueFull):
            queue.put_nowait(2)
    assert queue.get_nowait() == 1


@pytest.mark.parametrize("after", range(6))
@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("lost-item")
async def test_an_item_and_a_cancel_of_get_at_once(after: int) -> None:
    """However close a cancel is to the item's hand-over, the getter returns the item, or it is in the queue."""
    queue: Queue[int] = Queue()
    got: list[int] = []
    scope = bridgeio.CancelScope()
    async with bridgeio.create_task_group() as group:
        group.start_soon(_get_into, got, queue, scope)
        await until(lambda: queue.statistics().tasks_waiting_get)
        group.start_soon(queue.put, 1)
        await turns(after)
        scope.cancel()
    assert got + [queue.get_nowait() for _ in range(queue.qsize())] == [1]


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("lost-item")
async def test_an_item_that_was_handed_over_is_returned() -> None:
    """A getter that is cancelled after it was given an item, and before it goes on, returns the item; the
    cancel comes at its next wait."""
    queue: Queue[int] = Queue()
    got: list[int] = []
    scope = bridgeio.CancelScope()

    async def get_twice() -> None:
        with scope:
            got.append(await queue.get())
            got.append(await queue.get())

    async with bridgeio.create_task_group() as group:
        group.start_soon(get_twice)
        await until(lambda: queue.statistics().tasks_waiting_get)
        queue.put_nowait(1)
        queue.put_nowait(2)
        scope.cancel()
    assert got == [1]
    assert scope.cancelled_caught
    assert queue.get_nowait() == 2


@pytest.mark.bridgeio_bug("lost-item")
async def test_an_item_for_a_cancelled_getter_goes_to_the_next() -> None:
    """A getter that was cancelled and has not gone on yet is given nothing."""
    queue: Queue[int] = Queue()
    first: list[int] = []
    second: list[int] = []
    scope = bridgeio.CancelScope()
    async with bridgeio.create_task_group() as group:
        group.start_soon(_get_into, first, queue, scope)
        await until(lambda: queue.statistics().tasks_waiting_get == 1)
        group.start_soon(_get_into, second, queue)
        await until(lambda: queue.statistics().tasks_waiting_get == 2)
        scope.cancel()
        queue.put_nowait(1)
    assert (first, second) == ([], [1])


@pytest.mark.parametrize("after", range(6))
async def test_room_and_a_cancel_at_once(after: int) -> None:
    """However close a cancel is to the moment in which there is room, an item is in the queue once if ``put``
    returned, and not at all if it raised."""
    queue: Queue[int] = Queue(1)
    queue.put_nowait(0)
    returned: list[int] = []
    scope = bridgeio.CancelScope()

    async def put() -> None:
        with scope:
            await queue.put(1)
            returned.append(1)

    async with bridgeio.create_task_group() as group:
        group.start_soon(put)
        await until(lambda: queue.statistics().tasks_waiting_put)
        group.start_soon(queue.get)
        await turns(after)
        scope.cancel()
    assert [queue.get_nowait() for _ in range(queue.qsize())] == returned
    assert queue.statistics().tasks_waiting_put == 0


async def test_a_cancelled_putter_leaves_the_line() -> None:
    """Its item never comes; those behind it move up."""
    queue: Queue[int] = Queue(1)
    queue.put_nowait(0)
    async with bridgeio.create_task_group() as group:
        with bridgeio.CancelScope() as scope:
            group.start_soon(when, lambda: queue.statistics().tasks_waiting_put == 1, scope.cancel)
            await queue.put(1)
        group.start_soon(queue.put, 2)
        assert [await queue.get(), await queue.get()] == [0, 2]


@pytest.mark.parametrize("name", ["put", "get", "join", "async for"])
async def test_a_cancelled_task_neither_puts_nor_gets(name: str) -> None:
    """In a cancelled scope each operation raises before it does anything, though it need not wait."""
    queue: Queue[int] = Queue()
    idle: Queue[int] = Queue()
    queue.put_nowait(1)
    operations: dict[str, Callable[[], Any]] = {
        "put": partial(queue.put, 2),
        "get": queue.get,
        "join": idle.join,
        "async for": queue.__anext__,
    }
    for _ in range(2):
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await operations[name]()
        assert scope.cancelled_caught
    assert (queue.qsize(), queue.get_nowait()) == (1, 1)


@pytest.mark.parametrize("maxsize", [0, 1, 7])
async def test_a_queue_under_constant_cancels(maxsize: int) -> None:
    """Producers and consumers that are cancelled in every turn still move every item, exactly once."""
    queue: Queue[tuple[int, int]] = Queue(maxsize)
    await move_under_constant_cancels(queue.put, queue.get)
    assert queue.empty()


@pytest.mark.parametrize("maxsize", [1, 10, 0])
async def test_ten_thousand_items_through_a_queue(maxsize: int) -> None:
    """A bounded queue carries any number of items, in order, and never holds more than it may."""
    queue: Queue[int] = Queue(maxsize)
    most = 0

    async def put_all() -> None:
        await _put_from(queue, *range(10_000))
        queue.shutdown()

    got: list[int] = []
    async with bridgeio.create_task_group() as group:
        group.start_soon(put_all)
        async for item in queue:
            most = max(most, queue.qsize())
            got.append(item)
    assert got == list(range(10_000))
    assert most <= (maxsize or 10_000)


async def test_shutdown_ends_putting_and_lets_the_rest_be_got() -> None:
    """After ``shutdown`` nothing can be put; what is there can be got, and then QueueShutDown comes, always."""
    queue: Queue[int] = Queue()
    await _put_from(queue, 1, 2)
    queue.shutdown()
    with pytest.raises(bridgeio.QueueShutDown):
        await queue.put(3)
    with pytest.raises(bridgeio.QueueShutDown):
        queue.put_nowait(3)
    assert [await queue.get(), queue.get_nowait()] == [1, 2]
    for _ in range(2):
        with pytest.raises(bridgeio.QueueShutDown):
            await queue.get()
        with pytest.raises(bridgeio.QueueShutDown):
            queue.get_nowait()


@pytest.mark.parametrize("immediate", [False, True])
async def test_shutdown_wakes_those_who_wait(immediate: bool) -> None:
    """Tasks that wait to put or to get raise QueueShutDown, and nothing of theirs is put."""
    full: Queue[int] = Queue(1)
    empty: Queue[int] = Queue()
    full.put_nowait(0)
    refused: list[str] = []

    async def try_to(name: str, operation: Callable[[], Any]) -> None:
        with pytest.raises(bridgeio.QueueShutDown):
            await operation()
        refused.append(name)

    async with bridgeio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(try_to, "put", partial(full.put, 1))
            group.start_soon(try_to, "get", empty.get)
        await until(lambda: full.statistics().tasks_waiting_put == empty.statistics().tasks_waiting_get == 2)
        full.shutdown(immediate)
        empty.shutdown(immediate)
    assert sorted(refused) == ["get", "get", "put", "put"]
    assert full.qsize() == (0 if immediate else 1)


async def test_immediate_shutdown_drops_what_is_left() -> None:
    """It counts as done; what was got earlier is still waited for by ``join``."""
    queue: Queue[int] = Queue()
    await _put_from(queue, 1, 2, 3)
    await queue.get()
    queue.shutdown(immediate=True)
    assert (queue.qsize(), queue.statistics().unfinished_tasks) == (0, 1)
    async with bridgeio.create_task_group() as group:
        group.start_soon(queue.join)
        await until(lambda: queue.statistics().tasks_waiting_join)
        queue.task_done()
    with pytest.raises(bridgeio.QueueShutDown):
        await queue.get()


async def test_immediate_shutdown_wakes_join() -> None:
    """With nothing in anybody's hands, ``join`` ends at the shutdown."""
    queue: Queue[int] = Queue()
    queue.put_nowait(1)
    async with bridgeio.create_task_group() as group:
        group.start_soon(queue.join)
        await until(lambda: queue.statistics().tasks_waiting_join)
        queue.shutdown()
        await turns(3)
        assert queue.statistics().tasks_waiting_join == 1
        queue.shutdown(immediate=True)


async def test_join_waits_for_task_done() -> None:
    """``join`` ends when every item that was put is done, also those whose ``put`` had to wait."""
    queue: Queue[int] = Queue(1)
    await queue.join()
    joined: list[int] = []

    async def join() -> None:
        await queue.join()
        joined.append(queue.statistics().unfinished_tasks)

    async with bridgeio.create_task_group() as group:
        group.start_soon(_put_from, queue, 1, 2)
        await until(lambda: queue.statistics().tasks_waiting_put)
        group.start_soon(join)
        await until(lambda: queue.statistics().tasks_waiting_join)
        for left in (1, 0):
            await queue.get()
            assert not joined
            queue.task_done()
            assert queue.statistics().unfinished_tasks == left
    assert joined == [0]
    with pytest.raises(ValueError, match="task_done"):
        queue.task_done()


async def test_a_cancelled_join_leaves_the_line() -> None:
    """Cancelling ``join`` changes nothing for the queue, nor for another task that joins."""
    queue: Queue[int] = Queue()
    queue.put_nowait(1)
    async with bridgeio.create_task_group() as group:
        group.start_soon(queue.join)
        with bridgeio.CancelScope() as scope:
            group.start_soon(when, lambda: queue.statistics().tasks_waiting_join == 2, scope.cancel)
            await queue.join()
        assert scope.cancelled_caught
        assert queue.statistics().tasks_waiting_join == 1
        queue.get_nowait()
        queue.task_done()


async def test_queue_statistics() -> None:
    """They tell what is in the queue, what is unfinished, and who waits for what."""
    queue: Queue[int] = Queue(2)
    async with bridgeio.create_task_group() as group:
        group.start_soon(_put_from, queue, 1, 2, 3)
        await until(lambda: queue.statistics().tasks_waiting_put)
        group.start_soon(queue.join)
        await until(lambda: queue.statistics().tasks_waiting_join)
        expected = bridgeio.QueueStatistics(
            current_size=2,
            maxsize=2,
            unfinished_tasks=2,
            tasks_waiting_put=1,
            tasks_waiting_get=0,
            tasks_waiting_join=1,
        )
        assert queue.statistics() == expected
        group.cancel_scope.cancel()
    assert queue.statistics() == bridgeio.QueueStatistics(2, 2, 2, 0, 0, 0)


async def test_a_queue_of_another_run() -> None:
    """While tasks of one run wait for a queue, a task of another that meets them there is told so, and nothing
    of it is done; once nobody waits, it may use the queue."""
    queue: Queue[int] = Queue()
    told: list[int] = []

    async def use_what_is_in_use() -> None:
        for operation in (queue.get, partial(queue.put, 1)):
            with pytest.raises(bridgeio.SharedBetweenRunsError):
                await operation()
        with pytest.raises(bridgeio.SharedBetweenRunsError):
            queue.put_nowait(1)
        with pytest.raises(bridgeio.SharedBetweenRunsError):
            queue.shutdown()
        told.append(1)

    async def use() -> None:
        await queue.put(2)
        told.append(2)

    async with bridgeio.create_task_group() as group:
        group.start_soon(queue.get)
        await until(lambda: queue.statistics().tasks_waiting_get)
        in_a_run_of_its_own(use_what_is_in_use)
        await until(lambda: told == [1])
        assert queue.empty()
        group.cancel_scope.cancel()
    in_a_run_of_its_own(use)
    await until(lambda: told == [1, 2])
    assert await queue.get() == 2


def test_a_queue_in_one_run_after_the_other(backend: str, backend_options: dict[str, Any]) -> None:
    """A queue that was made outside any run carries what is left in it from one run to the next, and serves
    tasks that wait in each of them."""
    queue: Queue[int] = Queue(2)
    got: list[int] = []

    async def use() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(_get_into, got, queue)
            await until(lambda: queue.statistics().tasks_waiting_get or got)
            await _put_from(queue, 1, 2)
            with bridgeio.CancelScope() as scope:
                group.start_soon(when, queue.full, scope.cancel)
                await _put_from(queue, 3, 4)

    bridgeio.run(use, backend=backend, backend_options=backend_options)
    assert (got, queue.qsize()) == ([1], 2)
    got.clear()
    bridgeio.run(_get_into, got, queue, backend=backend, backend_options=backend_options)
    bridgeio.run(_get_into, got, queue, backend=backend, backend_options=backend_options)
    assert (got, queue.qsize()) == ([2, 3], 0)
    got.clear()
    bridgeio.run(use, backend=backend, backend_options=backend_options)
    assert got == [1]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
