"""Chapter: channels. Memory object streams lose no item, whoever is cancelled, and whenever."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio import create_memory_object_stream
from bridgeio.testing.meetings import in_a_run_of_its_own, turns, when
from bridgeio.testing.moving import move_under_constant_cancels
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio

Receive = bridgeio.MemoryObjectReceiveStream[int]


async def _receive_into(got: list[int], stream: Receive, scope: bridgeio.CancelScope | None = None) -> None:
    with scope or bridgeio.CancelScope():
        got.append(await stream.receive())


async def test_items_come_out_in_the_order_they_were_sent() -> None:
    """Items come out in the order in which they were sent: out of the buffer, then from tasks that wait."""
    send, receive = create_memory_object_stream[int](2)
    with send, receive:
        await send.send(1)
        send.send_nowait(2)
        async with bridgeio.create_task_group() as group:
            for item in (3, 4):
                group.start_soon(send.send, item)
                await until(lambda item=item: send.statistics().tasks_waiting_send == item - 2)  # type: ignore[misc]
            assert [await receive.receive(), receive.receive_nowait()] == [1, 2]
            assert [receive.receive_nowait(), await receive.receive()] == [3, 4]


async def test_receivers_are_served_in_their_order() -> None:
    """An item goes to the task that has waited longest, at once, also through another clone."""
    send, receive = create_memory_object_stream[int](3)
    got: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    with send, receive, receive.clone() as clone:
        async with bridgeio.create_task_group() as group:
            for number, (name, stream) in enumerate(zip("abc", (receive, clone, receive), strict=True), 1):
                group.start_soon(_receive_into, got[name], stream)
                await until(lambda n=number: send.statistics().tasks_waiting_receive == n)  # type: ignore[misc]
            for item in (1, 2, 3):
                send.send_nowait(item)
            assert send.statistics().current_buffer_used == 0
    assert got == {"a": [1], "b": [2], "c": [3]}


async def test_without_a_buffer_items_go_from_task_to_task() -> None:
    """With a size of 0 ``send`` returns only when the item was received, and ``send_nowait`` needs a receiver."""
    send, receive = create_memory_object_stream[int]()
    with send, receive:
        with pytest.raises(bridgeio.WouldBlock):
            send.send_nowait(1)
        with pytest.raises(bridgeio.WouldBlock):
            receive.receive_nowait()
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: send.statistics().tasks_waiting_send, scope.cancel)
                await send.send(2)
        assert scope.cancelled_caught
        async with bridgeio.create_task_group() as group:
            group.start_soon(send.send, 3)
            assert await receive.receive() == 3


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("after", range(6))
@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("lost-item")
async def test_an_item_and_a_cancel_of_receive_at_once(after: int, size: int) -> None:
    """However close a cancel is to the hand-over, an item that was sent is returned or can still be received.

    AnyIO #728: an item handed to a receiver with a pending cancellation was dropped."""
    send, receive = create_memory_object_stream[int](size)
    got: list[int] = []
    scope = bridgeio.CancelScope()
    with send, receive:
        async with bridgeio.create_task_group() as senders:
            async with bridgeio.create_task_group() as receivers:
                receivers.start_soon(_receive_into, got, receive, scope)
                await until(lambda: receive.statistics().tasks_waiting_receive)
                senders.start_soon(send.send, 1)
                await turns(after)
                scope.cancel()
            if not got:
                got.append(await receive.receive())
        assert got == [1]
        with pytest.raises(bridgeio.WouldBlock):
            receive.receive_nowait()


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("lost-item")
async def test_a_result_that_is_on_its_way_survives_a_cancel() -> None:
    """A receiver that is cancelled after it was given an item, and before it goes on, returns the item."""
    send, receive = create_memory_object_stream[int]()
    got: list[int] = []
    scope = bridgeio.CancelScope()

    async def receive_twice() -> None:
        with scope:
            got.append(await receive.receive())
            got.append(await receive.receive())

    with send, receive:
        async with bridgeio.create_task_group() as group:
            group.start_soon(receive_twice)
            await until(lambda: receive.statistics().tasks_waiting_receive)
            send.send_nowait(1)
            scope.cancel()
    assert got == [1]
    assert scope.cancelled_caught


@pytest.mark.bridgeio_bug("lost-item")
async def test_a_cancelled_receiver_is_given_nothing() -> None:
    """One that was cancelled and has not gone on yet is passed over: the item goes to the next."""
    send, receive = create_memory_object_stream[int]()
    first: list[int] = []
    second: list[int] = []
    scope = bridgeio.CancelScope()
    with send, receive:
        async with bridgeio.create_task_group() as group:
            group.start_soon(_receive_into, first, receive, scope)
            await until(lambda: receive.statistics().tasks_waiting_receive == 1)
            group.start_soon(_receive_into, second, receive)
            await until(lambda: receive.statistics().tasks_waiting_receive == 2)
            scope.cancel()
            send.send_nowait(1)
    assert (first, second) == ([], [1])


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("after", range(6))
async def test_a_sender_is_cancelled_while_room_is_made(after: int, size: int) -> None:
    """However close they are: an item arrives once if ``send`` returned, and not at all if it raised."""
    send, receive = create_memory_object_stream[int](size)
    sent: list[int] = list(range(size))
    got: list[int] = []
    scope = bridgeio.CancelScope()

    async def send_one() -> None:
        with scope:
            await send.send(size)
            sent.append(size)

    async def receive_all() -> None:
        async for item in receive:
            got.append(item)

    with receive:
        async with bridgeio.create_task_group() as group:
            with send:
                for item in range(size):
                    send.send_nowait(item)
                group.start_soon(send_one)
                await until(lambda: send.statistics().tasks_waiting_send)
                group.start_soon(receive_all)
                await turns(after)
                scope.cancel()
                await until(lambda: not send.statistics().tasks_waiting_send)
    assert got == sent


@pytest.mark.parametrize("name", ["send", "receive", "async for"])
async def test_a_cancelled_task_neither_sends_nor_receives(name: str) -> None:
    """In a cancelled scope each operation raises before it does anything, though it need not wait."""
    send, receive = create_memory_object_stream[int](5)
    with send, receive:
        send.send_nowait(1)
        operations: dict[str, Callable[[], Any]] = {
            "send": partial(send.send, 2),
            "receive": receive.receive,
            "async for": receive.__anext__,
        }
        for _ in range(2):
            with bridgeio.CancelScope() as scope:
                scope.cancel()
                await operations[name]()
            assert scope.cancelled_caught
        assert send.statistics().current_buffer_used == 1


@pytest.mark.parametrize("size", [0, 1, math.inf])
async def test_a_channel_under_constant_cancels(size: float) -> None:
    """Senders and receivers that are cancelled in every turn still move every item, exactly once."""
    send, receive = create_memory_object_stream[tuple[int, int]](size)
    with send, receive:
        await move_under_constant_cancels(send.send, receive.receive)
        assert send.statistics().current_buffer_used == 0


@pytest.mark.parametrize("size", [0, 1, 10])
async def test_ten_thousand_items_through_a_channel(size: int) -> None:
    """A bounded stream carries any number of items, in order, and never holds more than it may; the ``async
    for`` ends when the sending end is closed."""
    send, receive = create_memory_object_stream[int](size)
    got: list[int] = []
    most = 0

    async def send_all() -> None:
        async with send:
            for item in range(10_000):
                await send.send(item)

    async with receive, bridgeio.create_task_group() as group:
        group.start_soon(send_all)
        async for item in receive:
            most = max(most, receive.statistics().current_buffer_used)
            got.append(item)
    assert got == list(range(10_000))
    assert most <= size


async def test_channel_statistics() -> None:
    """They tell what is buffered, how many clones are open, and how many tasks wait, the same from all ends."""
    send, receive = create_memory_object_stream[int](1)
    with send, receive, send.clone() as clone, receive.clone(), receive.clone():
        send.send_nowait(0)
        async with bridgeio.create_task_group() as group:
            group.start_soon(clone.send, 1)
            await until(lambda: receive.statistics().tasks_waiting_send)
            expected = bridgeio.MemoryObjectStreamStatistics(
                current_buffer_used=1,
                max_buffer_size=1,
                open_send_streams=2,
                open_receive_streams=3,
                tasks_waiting_send=1,
                tasks_waiting_receive=0,
            )
            assert send.statistics() == receive.statistics() == expected
            group.cancel_scope.cancel()
    assert send.statistics() == bridgeio.MemoryObjectStreamStatistics(1, 1, 0, 0, 0, 0)


async def test_a_channel_of_another_run() -> None:
    """While tasks of one run wait, a task of another that meets them is told so, and nothing of it is done."""
    send, receive = create_memory_object_stream[int](1)
    told: list[int] = []

    async def use_what_is_in_use() -> None:
        for operation in (partial(send.send, 1), receive.receive):
            with pytest.raises(bridgeio.SharedBetweenRunsError):
                await operation()
        for call in (partial(send.send_nowait, 1), send.close, receive.close):
            with pytest.raises(bridgeio.SharedBetweenRunsError):
                call()
        told.append(1)

    async def use() -> None:
        await send.send(2)
        told.append(2)

    with send, receive:
        async with bridgeio.create_task_group() as group:
            group.start_soon(receive.receive)
            await until(lambda: receive.statistics().tasks_waiting_receive)
            in_a_run_of_its_own(use_what_is_in_use)
            await until(lambda: told == [1])
            group.cancel_scope.cancel()
        in_a_run_of_its_own(use)
        await until(lambda: told == [1, 2])
        assert await receive.receive() == 2


def test_a_channel_in_one_run_after_the_other(backend: str, backend_options: dict[str, Any]) -> None:
    """A stream that was made outside any run carries what is buffered from one run to the next."""
    send, receive = create_memory_object_stream[int](1)
    got: list[int] = []

    async def use() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(_receive_into, got, receive)
            await until(lambda: receive.statistics().tasks_waiting_receive or got)
            await send.send(len(got) + 1)
            await send.send(3)

    with send, receive:
        bridgeio.run(use, backend=backend, backend_options=backend_options)
        assert got == [1]
        bridgeio.run(_receive_into, got, receive, backend=backend, backend_options=backend_options)
        assert got == [1, 3]
        bridgeio.run(use, backend=backend, backend_options=backend_options)
        assert got == [1, 3, 3]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
