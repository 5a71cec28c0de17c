"""Queues and memory streams in calls of `bridgeio.blocking`: between plain threads, and between greenlets."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

import bridgeio
from bridgeio import blocking

COUNT = 200


def put_all(queue: bridgeio.Queue[int]) -> None:
    for number in range(COUNT):
        blocking(queue.put)(number)
    blocking(queue.join)()
    blocking(shut_down)(queue)


async def shut_down(queue: bridgeio.Queue[int]) -> None:
    queue.shutdown()


async def get_and_be_done(queue: bridgeio.Queue[int]) -> int:
    item = await queue.get()
    queue.task_done()
    return item


def get_all(queue: bridgeio.Queue[int], got: list[int]) -> None:
    with suppress(bridgeio.QueueShutDown):
        while True:
            got.append(blocking(get_and_be_done)(queue))


def test_a_queue_between_threads() -> None:
    """Made outside any run, a bounded queue carries every item from one thread to two others, once and in order."""
    queue: bridgeio.Queue[int] = bridgeio.Queue(2)
    got: list[list[int]] = [[], []]
    threads = [threading.Thread(target=get_all, args=(queue, items)) for items in got]
    for thread in threads:
        thread.start()
    put_all(queue)
    for thread in threads:
        thread.join()
    assert sorted(got[0] + got[1]) == list(range(COUNT))
    assert [sorted(items) for items in got] == got


def test_a_stream_between_threads() -> None:
    """The same for a memory object stream without a buffer; its end is heard in the other thread."""
    send, receive = bridgeio.create_memory_object_stream[int]()
    got: list[int] = []

    async def receive_all() -> None:
        async with receive:
            got.extend([item async for item in receive])

    thread = threading.Thread(target=blocking(receive_all))
    thread.start()
    for number in range(COUNT):
        blocking(send.send)(number)
    blocking(send.aclose)()
    thread.join()
    assert got == list(range(COUNT))


def test_a_queue_between_greenlets() -> None:
    """The same between greenlets that gevent has started, with no thread."""
    gevent = pytest.importorskip("gevent", exc_type=ModuleNotFoundError)
    queue: bridgeio.Queue[int] = bridgeio.Queue(2)
    got: list[int] = []

    def run() -> None:
        gevent.joinall([gevent.spawn(get_all, queue, got), gevent.spawn(put_all, queue)], raise_error=True)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)  # which has a hub of its own, and not that of all other tests
    thread.start()
    thread.join()
    assert got == list(range(COUNT))
