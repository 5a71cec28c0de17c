"""Locks in calls of `bridgeio.blocking`: between plain threads, and between greenlets."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import bridgeio
from bridgeio import blocking

KINDS: dict[str, Callable[[], Any]] = {
    "Lock": bridgeio.Lock,
    "Condition": bridgeio.Condition,
    "Semaphore": lambda: bridgeio.Semaphore(1),
    "CapacityLimiter": lambda: bridgeio.CapacityLimiter(1),
}


async def statistics_of(thing: Any) -> Any:
    return thing.statistics()


def inside(thing: Any) -> Any:
    """The thing for a ``with`` block."""
    as_context: Any = blocking
    return as_context(lambda: thing)()


async def acquire(thing: Any) -> None:
    await thing.acquire()


async def call(method: Callable[[], object]) -> None:
    method()


def waiting(thing: Any) -> int:
    """Asked inside a call, as everything of bridgeio's."""
    statistics = blocking(statistics_of)(thing)
    return int(getattr(statistics, "lock_statistics", statistics).tasks_waiting)


@pytest.mark.parametrize("kind", KINDS)
def test_between_threads(kind: str) -> None:
    """Made outside any run, a lock orders threads: two calls of one thread are one task, and none overtakes."""
    thing, order = KINDS[kind](), list[str]()
    pause = threading.Event()

    def use(name: str) -> None:
        with inside(thing):
            order.append(name)

    blocking(acquire)(thing)
    threads = []
    for number, name in enumerate("abc"):
        threads.append(threading.Thread(target=use, args=(name,)))
        threads[-1].start()
        while waiting(thing) <= number:
            pause.wait(0.001)
    assert order == []
    blocking(call)(thing.release)
    use("last")
    for thread in threads:
        thread.join()
    assert order == ["a", "b", "c", "last"]
    blocking(call)(thing.acquire_nowait)
    blocking(call)(thing.release)


def test_the_owner_is_the_thread() -> None:
    """What one thread's call has acquired, another's cannot release; the error names both."""
    lock, told = bridgeio.Lock(), list[str]()

    def steal() -> None:
        try:
            blocking(call)(lock.release)
        except RuntimeError as error:
            told.append(str(error))

    with inside(lock):
        thread = threading.Thread(target=steal)
        thread.start()
        thread.join()
        thief, owner = (f"blocking calls of thread {ident}" for ident in (thread.ident, threading.get_ident()))
        assert told == [f"{thief} does not hold this Lock: {owner} holds it"]


def test_a_condition_between_threads() -> None:
    """One thread waits for what another puts, and gets it."""
    condition, items = bridgeio.Condition(), list[str]()
    got: list[str] = []

    async def take() -> None:
        async with condition:
            await condition.wait_for(lambda: items)
            got.append(items.pop())

    async def put() -> None:
        async with condition:
            items.append("item")
            condition.notify()

    thread = threading.Thread(target=blocking(take))
    thread.start()
    blocking(put)()
    thread.join()
    assert got == ["item"]


def test_between_greenlets() -> None:
    """The same between greenlets that gevent has started, with no thread."""
    gevent = pytest.importorskip("gevent", exc_type=ModuleNotFoundError)
    lock, order = bridgeio.Lock(), list[str]()

    def use(name: str) -> None:
        with inside(lock):
            order.append(f"{name} in")
            gevent.sleep(0)
            order.append(f"{name} out")

    def run() -> None:
        gevent.joinall([gevent.spawn(use, name) for name in "abc"], raise_error=True)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)  # which has a hub of its own, and not that of all other tests
    thread.start()
    thread.join()
    assert order == ["a in", "a out", "b in", "b out", "c in", "c out"]
