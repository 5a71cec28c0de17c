"""Handing over, step by step: who is given what, and what becomes of an item whose taker is no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import bridgeio
from bridgeio import Queue, create_memory_object_stream
from driven import DrivenTask
from fake_host import FakeHost


def tasks(count: int) -> list[DrivenTask]:
    host = FakeHost()
    return [DrivenTask(host) for _ in range(count)]


def test_what_a_closed_task_was_given_goes_to_the_next() -> None:
    """A coroutine that is closed between its hand-over and its next step passes the item on."""
    queue: Queue[str] = Queue()
    first, second = tasks(2)
    assert [task.begin(queue.get()) for task in (first, second)] == ["parked"] * 2
    queue.put_nowait("item")
    assert (first.woken, second.woken) == (1, 0)
    first.close()
    assert (first.woken, second.woken) == (1, 1)
    assert second.go_on() == ""
    assert second.result == "item"


def test_what_a_closed_task_was_given_is_the_oldest_again() -> None:
    """If nobody else waits it is back at its place, before what came later, and still counts once."""
    queue: Queue[int] = Queue()
    (task,) = tasks(1)
    task.begin(queue.get())
    queue.put_nowait(1)
    queue.put_nowait(2)
    task.close()
    assert [queue.get_nowait(), queue.get_nowait()] == [1, 2]
    assert queue.statistics().unfinished_tasks == 2


def test_a_closed_receiver_passes_its_item_on() -> None:
    """The same for memory object streams."""
    send, receive = create_memory_object_stream[int](1)
    with send, receive:
        (task,) = tasks(1)
        task.begin(receive.receive())
        send.send_nowait(1)
        task.close()
        assert receive.receive_nowait() == 1


def test_a_closed_task_that_was_given_nothing_leaves_the_line() -> None:
    """Then there is nothing to pass on, and the next item is not for it."""
    queue: Queue[int] = Queue()
    (task,) = tasks(1)
    task.begin(queue.get())
    task.close()
    queue.put_nowait(1)
    assert (task.woken, queue.qsize()) == (0, 1)


def test_a_putter_that_is_closed_takes_its_item_with_it() -> None:
    """Unless it has changed hands."""
    queue: Queue[int] = Queue(1)
    queue.put_nowait(0)
    first, second = tasks(2)
    first.begin(queue.put(1))
    second.begin(queue.put(2))
    assert queue.get_nowait() == 0
    first.close()
    second.close()
    assert (queue.get_nowait(), queue.empty()) == (1, True)


def test_another_host_is_refused() -> None:
    """A task on another host than those who wait neither puts, nor gets, nor shuts down; a callback may."""
    queue: Queue[int] = Queue()
    waiting, stranger = *tasks(1), *tasks(1)
    waiting.begin(queue.get())
    for refused in (queue.put(1), queue.get()):
        with pytest.raises(bridgeio.SharedBetweenRunsError, match="another run"):
            stranger.begin(refused)
    queue.put_nowait(2)
    waiting.go_on()
    assert waiting.result == 2


def test_another_host_takes_no_item_either() -> None:
    """Nor does it wake those who wait for room, or for the end of all tasks: nothing is taken, and nothing done."""
    queue: Queue[int] = Queue(1)
    queue.put_nowait(0)
    putting, joining = tasks(2)
    (stranger,) = tasks(1)
    putting.begin(queue.put(1))
    joining.begin(queue.join())
    for refused in (queue.get(), queue.join(), _as_coroutine(queue.task_done), _as_coroutine(queue.shutdown)):
        with pytest.raises(bridgeio.SharedBetweenRunsError, match="another run"):
            stranger.begin(refused)
    assert [queue.get_nowait(), queue.get_nowait()] == [0, 1]
    assert queue.statistics().unfinished_tasks == 2


async def _as_coroutine(call: Callable[[], object]) -> None:
    call()


def test_shutdown_and_the_count_of_what_is_unfinished() -> None:
    """``task_done`` may be called before ``get``, as on asyncio; an immediate shutdown then counts no item twice."""
    queue: Queue[int] = Queue()
    for item in range(3):
        queue.put_nowait(item)
    queue.task_done()
    queue.shutdown(immediate=True)
    assert queue.statistics().unfinished_tasks == 0
    with pytest.raises(ValueError, match="task_done"):
        queue.task_done()


def test_the_pair_is_a_tuple_of_two() -> None:
    """``create_memory_object_stream`` gives a sending and a receiving end, with or without a type."""
    for pair in (create_memory_object_stream[int](1), create_memory_object_stream(1, int)):
        send, receive = pair
        assert isinstance(send, bridgeio.MemoryObjectSendStream)
        assert isinstance(receive, bridgeio.MemoryObjectReceiveStream)
        send.close()
        receive.close()
