"""Chapter: channel ends. Closing either end of a memory object stream is heard by who waits at it, and at the other."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio import create_memory_object_stream
from bridgeio.testing.meetings import turns
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


async def _receive_into(got: list[int], stream: bridgeio.MemoryObjectReceiveStream[int]) -> None:
    got.append(await stream.receive())


async def _refused(
    seen: list[type[BaseException]], error: type[Exception], operation: Callable[[], Awaitable[object]]
) -> None:
    with pytest.raises(error) as refusal:
        await operation()
    seen.append(refusal.type)


async def test_the_end_of_a_stream() -> None:
    """When the last sending end is closed, what is buffered can be received, and then EndOfStream comes, always."""
    send, receive = create_memory_object_stream[int](2)
    with receive:
        with send, send.clone() as clone:
            send.send_nowait(1)
            clone.send_nowait(2)
        assert [receive.receive_nowait(), await receive.receive()] == [1, 2]
        for _ in range(2):
            with pytest.raises(bridgeio.EndOfStream):
                await receive.receive()
            with pytest.raises(bridgeio.EndOfStream):
                receive.receive_nowait()
        assert [item async for item in receive] == []


async def test_closing_the_last_sending_end_wakes_receivers() -> None:
    """They raise EndOfStream; as long as one clone is open they go on waiting."""
    send, receive = create_memory_object_stream[int]()
    seen: list[type[BaseException]] = []
    with receive:
        async with bridgeio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(_refused, seen, bridgeio.EndOfStream, receive.receive)
            await until(lambda: receive.statistics().tasks_waiting_receive == 2)
            clone = send.clone()
            send.close()
            await turns(3)
            assert receive.statistics().tasks_waiting_receive == 2
            await clone.aclose()
    assert seen == [bridgeio.EndOfStream] * 2


async def test_closing_the_last_receiving_end_wakes_senders() -> None:
    """They raise BrokenResourceError, and so does every later ``send``; nothing of theirs was sent."""
    send, receive = create_memory_object_stream[int](1)
    seen: list[type[BaseException]] = []
    with send:
        send.send_nowait(0)
        async with bridgeio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(_refused, seen, bridgeio.BrokenResourceError, partial(send.send, 1))
            await until(lambda: send.statistics().tasks_waiting_send == 2)
            clone = receive.clone()
            receive.close()
            await turns(3)
            assert send.statistics().tasks_waiting_send == 2
            clone.close()
        assert seen == [bridgeio.BrokenResourceError] * 2
        with pytest.raises(bridgeio.BrokenResourceError):
            await send.send(2)
        with pytest.raises(bridgeio.BrokenResourceError):
            send.send_nowait(2)
        assert send.statistics().current_buffer_used == 1


async def test_closing_an_end_that_is_waited_through() -> None:
    """Tasks that wait through this very end raise ClosedResourceError; those that wait through a clone go on."""
    send, receive = create_memory_object_stream[int]()
    seen: list[type[BaseException]] = []
    got: list[int] = []
    with send, receive:
        other = receive.clone()
        async with bridgeio.create_task_group() as group:
            group.start_soon(_refused, seen, bridgeio.ClosedResourceError, other.receive)
            group.start_soon(_receive_into, got, receive)
            await until(lambda: receive.statistics().tasks_waiting_receive == 2)
            other.close()
            await until(lambda: seen)
            await send.send(1)
        assert got == [1]
        clone = send.clone()
        async with bridgeio.create_task_group() as group:
            group.start_soon(_refused, seen, bridgeio.ClosedResourceError, partial(clone.send, 2))
            await until(lambda: send.statistics().tasks_waiting_send == 1)
            group.start_soon(send.send, 3)
            await until(lambda: send.statistics().tasks_waiting_send == 2)
            clone.close()
            assert await receive.receive() == 3
    assert seen == [bridgeio.ClosedResourceError] * 2


async def test_closing_after_the_hand_over() -> None:
    """What has changed hands has: a receiver gets the item, and a sender returns, though the end is closed."""
    send, receive = create_memory_object_stream[int]()
    got: list[int] = []
    async with bridgeio.create_task_group() as group:
        group.start_soon(_receive_into, got, receive)
        await until(lambda: receive.statistics().tasks_waiting_receive)
        send.send_nowait(1)
        receive.close()
    assert got == [1]
    send.close()
    send, receive = create_memory_object_stream[int]()
    async with bridgeio.create_task_group() as group:
        group.start_soon(send.send, 2)
        await until(lambda: send.statistics().tasks_waiting_send)
        assert receive.receive_nowait() == 2
        send.close()
        receive.close()


async def test_a_closed_end() -> None:
    """Everything but closing it again, and asking for statistics, is a ClosedResourceError."""
    send, receive = create_memory_object_stream[int](1)
    send.send_nowait(1)
    for end in (send, receive):
        end.close()
        await end.aclose()
        with pytest.raises(bridgeio.ClosedResourceError):
            end.clone()
    for operation in (partial(send.send, 1), receive.receive):
        with pytest.raises(bridgeio.ClosedResourceError):
            await operation()
    with pytest.raises(bridgeio.ClosedResourceError):
        send.send_nowait(1)
    with pytest.raises(bridgeio.ClosedResourceError):
        receive.receive_nowait()


async def test_ends_are_closed_in_a_cancelled_scope() -> None:
    """Cleanup needs no shield: ``aclose`` and the end of ``async with`` close, cancelled or not."""
    send, receive = create_memory_object_stream[int]()
    with bridgeio.CancelScope() as scope:
        async with receive:
            scope.cancel()
            await send.aclose()
            await bridgeio.sleep(0)
    assert scope.cancelled_caught
    statistics = send.statistics()
    assert (statistics.open_send_streams, statistics.open_receive_streams) == (0, 0)


async def test_an_end_that_nobody_closed() -> None:
    """Collected without having been closed, an end warns; one that was closed does not."""
    ends = create_memory_object_stream[int]()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del ends
        gc.collect()
    assert sorted(str(warning.message).split()[1] for warning in told if warning.category is ResourceWarning) == [
        "<bridgeio.channels.MemoryObjectReceiveStream",
        "<bridgeio.channels.MemoryObjectSendStream",
    ]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for end in create_memory_object_stream[int]():
            end.close()
        del end
        gc.collect()
    assert told == []


@pytest.mark.parametrize("size", [-1, 1.5, -math.inf, "1", None])
def test_a_size_that_is_none(size: Any) -> None:
    """Sizes that are negative, or neither an int nor infinity, are a ValueError."""
    with pytest.raises(ValueError, match="max_buffer_size"):
        create_memory_object_stream[int](size)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
