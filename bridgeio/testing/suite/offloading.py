"""Chapter: offloading. Calls that block, in worker threads, while the run goes on."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio import to_thread
from bridgeio.registry import surrounding_backend
from bridgeio.testing.foreign import Door
from bridgeio.testing.meetings import when
from bridgeio.testing.natives import Native
from bridgeio.testing.programs import run_program
from bridgeio.testing.resources import unchanged, until
from bridgeio.threadcache import cache
from bridgeio.unpatched import get_ident, original

pytestmark = pytest.mark.bridgeio

_word: ContextVar[str] = ContextVar("word", default="none")


class Oddity(BaseException):
    """What ``except Exception`` does not catch."""


async def test_a_call_in_a_thread() -> None:
    """The function gets its arguments and runs in another real thread; its result comes back."""
    here = get_ident()

    def work(one: int, two: int) -> tuple[int, bool]:
        return one + two, get_ident() != here

    assert await to_thread.run_sync(work, 1, 2) == (3, True)


@pytest.mark.parametrize("kind", [KeyError, Oddity, SystemExit, KeyboardInterrupt])
async def test_what_a_thread_raises(kind: type[BaseException]) -> None:
    """What the function raises is raised by the call, the same object, with the thread's frames in its traceback;
    what is no `Exception` too."""
    error = kind("from the thread")

    def fail() -> None:
        raise error

    with pytest.raises(kind) as caught:
        await to_thread.run_sync(fail)
    assert caught.value is error
    assert "fail" in [entry.name for entry in caught.traceback]


async def test_a_thread_that_raises_stop_iteration() -> None:
    """`StopIteration`, which would look like a coroutine's end, comes out as a `RuntimeError` that it caused."""
    with pytest.raises(RuntimeError) as caught:
        await to_thread.run_sync(next, iter(()))
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_others_go_on_while_a_thread_works() -> None:
    """A task that waits for a thread keeps nobody from his turn."""
    door = Door()
    turns: list[int] = []

    async def go_on() -> None:
        await until(lambda: door.came)
        for number in range(3):
            await bridgeio.sleep(0)
            turns.append(number)
        door.open()

    async with bridgeio.create_task_group() as group:
        group.start_soon(go_on)
        await to_thread.run_sync(door.wait)
        assert turns == [0, 1, 2]


async def test_a_thread_is_inside_no_framework() -> None:
    """In the thread nothing says that it is inside the run: no backend is around it, and no bridgeio call can wait
    there. sniffio, if anybody asks it, finds nothing either."""
    sniffio = pytest.importorskip("sniffio")

    def look() -> tuple[object, str]:
        with pytest.raises(bridgeio.NoBackendError):
            bridgeio.current_backend()
        try:
            return surrounding_backend(), sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            return surrounding_backend(), "none"

    assert await to_thread.run_sync(look) == (None, "none")


async def test_context_goes_into_the_thread() -> None:
    """The thread sees the caller's context variables; what it sets stays in a copy of its own."""

    def change() -> str:
        before = _word.get()
        _word.set("the thread's")
        return before

    _word.set("the task's")
    assert await to_thread.run_sync(change) == "the task's"
    assert await to_thread.run_sync(_word.get) == "the task's"


async def test_threads_are_used_again() -> None:
    """One call after the other is made by one thread: who hears of a call's end finds its thread idle."""
    used = {await to_thread.run_sync(original("_thread", "get_native_id")) for _ in range(20)}
    assert len(used) == 1
    assert cache.idle == 1


def test_idle_threads_end_with_the_run(backend: str, backend_options: dict[str, Any]) -> None:
    """When a run is over no thread waits for more work."""

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(to_thread.run_sync, abs, 1)

    bridgeio.run(main, backend=backend, backend_options=backend_options)
    assert cache.idle == 0


async def test_what_a_thread_was_given_is_freed() -> None:
    """Neither an idle thread nor the call's end keeps what the function was given, returned or raised."""

    class Thing:
        pass

    def hand_back(thing: Thing) -> Thing:
        return thing

    def refuse(thing: Thing) -> None:
        raise ValueError(thing)

    alive = []
    gc.collect()
    gc.disable()
    try:
        thing = Thing()
        alive.append(weakref.ref(thing))
        assert await to_thread.run_sync(hand_back, thing) is thing
        del thing
        await bridgeio.sleep(0.001)
        await until(lambda: alive[0]() is None)
        thing = Thing()
        alive.append(weakref.ref(thing))
        with pytest.raises(ValueError):
            await to_thread.run_sync(refuse, thing)
        del thing
    finally:
        gc.enable()
    gc.collect()  # pytest's own record of the exception is a circle
    await until(lambda: alive[1]() is None)


# Cancelling


async def test_a_cancelled_task_starts_no_thread() -> None:
    """Inside a cancelled scope nothing is called."""
    called: list[bool] = []
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        await to_thread.run_sync(called.append, True)
    assert scope.cancelled_caught
    assert not called


async def test_a_cancel_waits_for_the_thread() -> None:
    """By default the task waits for the thread: its result comes, and the cancellation at the next wait."""
    door = Door()
    log: list[str] = []

    async def work() -> None:
        with bridgeio.CancelScope() as scope:
            scopes.append(scope)
            await to_thread.run_sync(door.wait)
            log.append(f"passed {door.passed}")
            await bridgeio.sleep(0)
            log.append("too far")
        log.append("cancelled")

    scopes: list[bridgeio.CancelScope] = []
    async with bridgeio.create_task_group() as group:
        group.start_soon(work)
        await until(lambda: door.came)
        scopes[0].cancel()
        for _ in range(3):
            await bridgeio.sleep(0.001)
        assert log == []
        door.open()
    assert log == ["passed 1", "cancelled"]


async def test_the_error_of_a_thread_that_was_waited_for() -> None:
    """What the thread raises in a cancelled scope is raised, and not lost to the cancellation."""
    door = Door()

    def fail() -> None:
        door.wait()
        raise KeyError("from the thread")

    async with bridgeio.create_task_group() as group:

        async def cancel() -> None:
            await until(lambda: door.came)
            scope.cancel()
            door.open()

        group.start_soon(cancel)
        with bridgeio.CancelScope() as scope, pytest.raises(KeyError):
            await to_thread.run_sync(fail)


@pytest.mark.bridgeio_needs("native_cancel")
async def test_a_native_cancel_waits_for_the_thread(native: Native) -> None:
    """Cancelled in the framework's own way, the task waits for its thread, too, and is cancelled then."""
    door = Door()
    ready = bridgeio.Event()
    log: list[str] = []

    async def work() -> None:
        await to_thread.run_sync(door.wait)
        log.append(f"passed {door.passed}")
        await bridgeio.sleep_forever()

    async def open_later() -> None:
        await until(lambda: door.came)
        ready.set()
        for _ in range(5):
            await bridgeio.sleep(0.001)
        assert log == []
        door.open()

    async with bridgeio.create_task_group() as group:
        group.start_soon(open_later)
        await native.cancelled_from_outside(work, ready)
    assert log == ["passed 1"]


async def test_an_abandoned_thread() -> None:
    """With ``abandon_on_cancel`` the task goes on at once; the thread goes on alone, and what it returns is dropped.
    Its token is given back when it has ended, and not before."""
    door = Door()
    limiter = bridgeio.CapacityLimiter(1)
    async with unchanged():
        with bridgeio.move_on_after(0.01) as scope:
            await to_thread.run_sync(door.wait, abandon_on_cancel=True, limiter=limiter)
        assert scope.cancelled_caught
        await until(lambda: door.came)
        assert door.passed == 0
        assert limiter.borrowed_tokens == 1
        door.open()
        await until(lambda: limiter.borrowed_tokens == 0)
        assert door.passed == 1


async def test_what_an_abandoned_thread_raises_is_dropped() -> None:
    """Nobody hears of an error in a thread that nobody waits for; the task's next wait is not ended by it."""
    door = Door()

    def fail() -> None:
        door.wait()
        raise KeyError("nobody waits")

    with bridgeio.move_on_after(0.01):
        await to_thread.run_sync(fail, abandon_on_cancel=True)
    await until(lambda: door.came)
    event = bridgeio.Event()

    async def set_later() -> None:
        door.open()
        await until(lambda: limiter.borrowed_tokens == 0)
        for _ in range(3):
            await bridgeio.sleep(0.001)
        event.set()

    limiter = to_thread.current_default_thread_limiter()
    async with bridgeio.create_task_group() as group:
        group.start_soon(set_later)
        await event.wait()
        assert event.is_set()


async def test_a_shield_around_an_abandonable_call() -> None:
    """A shield keeps the cancellation from the call, which is not abandoned then."""
    door = Door()
    results: list[object] = []

    async def work() -> None:
        with bridgeio.CancelScope(shield=True):
            results.append(await to_thread.run_sync(door.wait, abandon_on_cancel=True))

    async with bridgeio.create_task_group() as group:
        group.start_soon(work)
        await until(lambda: door.came)
        group.cancel_scope.cancel()
        door.open()
    assert results == ["passed"]


# Limits


async def test_the_default_limiter() -> None:
    """A run has one limiter of 40 tokens; a call holds one of them until its thread has ended."""
    limiter = to_thread.current_default_thread_limiter()
    assert limiter is to_thread.current_default_thread_limiter()
    assert limiter.total_tokens == 40

    def look() -> int:
        return limiter.borrowed_tokens

    assert await to_thread.run_sync(look) == 1
    assert limiter.borrowed_tokens == 0


def test_each_run_has_its_own_limiter(backend: str, backend_options: dict[str, Any]) -> None:
    """What one run sets its limiter to is forgotten with it; outside any run there is none."""

    async def main() -> float:
        limiter = to_thread.current_default_thread_limiter()
        before = limiter.total_tokens
        limiter.total_tokens = 3
        return before

    for _ in range(2):
        assert bridgeio.run(main, backend=backend, backend_options=backend_options) == 40


async def test_no_more_threads_than_tokens() -> None:
    """Who finds no token waits for one, first come, first served; a cancelled wait takes none."""
    limiter = bridgeio.CapacityLimiter(2)
    doors = [Door() for _ in range(4)]
    async with bridgeio.create_task_group() as group:
        for door in doors[:3]:
            group.start_soon(partial(to_thread.run_sync, door.wait, limiter=limiter))
            await bridgeio.sleep(0)
        await until(lambda: doors[0].came and doors[1].came and limiter.statistics().tasks_waiting)
        with bridgeio.move_on_after(0.005) as scope:
            await to_thread.run_sync(doors[3].wait, limiter=limiter)
        assert scope.cancelled_caught
        assert [door.came for door in doors] == [1, 1, 0, 0]
        doors[0].open()
        await until(lambda: doors[2].came)
        doors[1].open()
        doors[2].open()
    assert limiter.borrowed_tokens == 0


async def test_the_borrowers_of_threads() -> None:
    """The limiter's statistics name the functions that are being called."""
    limiter = to_thread.current_default_thread_limiter()

    def look() -> str:
        return repr(limiter.statistics().borrowers)

    assert "look in a worker thread" in await to_thread.run_sync(look)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no function": (lambda: to_thread.run_sync("work"), "takes a function"),  # type: ignore[arg-type]
    "an async function": (lambda: to_thread.run_sync(bridgeio.sleep, 1), "is an async function"),
    "no limiter": (lambda: to_thread.run_sync(int, limiter=3), "limiter is a CapacityLimiter"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_calls_of_to_thread(what: str) -> None:
    """Wrong arguments are a TypeError at once, which says what is wanted; no token is gone."""
    call, words = WRONG[what]
    with pytest.raises(TypeError, match=words):
        await call()
    assert to_thread.current_default_thread_limiter().borrowed_tokens == 0


async def test_a_system_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread the call is an OSError, and its token is free again."""
    import bridgeio.threadcache

    def original_but(module: str, name: str) -> Any:
        return _refuse if name == "start_new_thread" else original(module, name)

    monkeypatch.setattr(bridgeio.threadcache, "original", original_but)
    cache.end_idle()
    with pytest.raises(OSError, match="no thread"):
        await to_thread.run_sync(int)
    assert to_thread.current_default_thread_limiter().borrowed_tokens == 0


def _refuse(function: object, args: object) -> None:
    raise RuntimeError("can't start new thread")


async def test_a_thread_that_blocks_in_the_system() -> None:
    """A call that blocks in the kernel is what threads are for: the run goes on, and can end it."""
    reading, writing = os.pipe()
    try:
        async with bridgeio.create_task_group() as group:

            async def send() -> None:
                await bridgeio.sleep(0.005)
                os.write(writing, b"from the run")

            group.start_soon(send)
            assert await to_thread.run_sync(os.read, reading, 100) == b"from the run"
    finally:
        os.close(reading)
        os.close(writing)


def test_a_run_ends_beside_an_abandoned_thread(backend: str, backend_options: dict[str, Any]) -> None:
    """A run does not wait for an abandoned thread, nor does the end of the program."""
    assert run_program(_ABANDONING, backend, **backend_options) == "over\n"


def test_a_limiter_outlives_a_run_with_an_abandoned_thread(backend: str, backend_options: dict[str, Any]) -> None:
    """Tokens come back at the end of the run at the latest: the next one may borrow them, and the thread's own end
    changes nothing any more."""
    limiter = bridgeio.CapacityLimiter(1)
    door, through = Door(), Door()

    def work() -> None:
        door.wait()
        through.open()

    async def abandon() -> None:
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: door.came, scope.cancel)
                await to_thread.run_sync(work, abandon_on_cancel=True, limiter=limiter)
        assert limiter.borrowed_tokens == 1

    async def borrow() -> None:
        async with limiter:
            door.open()
            await to_thread.run_sync(through.wait)
            assert limiter.borrowed_tokens == 1

    for main in (abandon, borrow):
        bridgeio.run(main, backend=backend, backend_options=backend_options)
        assert limiter.borrowed_tokens == 0


_ABANDONING = """
import time
from bridgeio import to_thread
from bridgeio.unpatched import original

async def main():
    with bridgeio.move_on_after(0.05):
        await to_thread.run_sync(original("time", "sleep"), 3600, abandon_on_cancel=True)

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
print("over")
"""


async def test_a_thread_that_waits_in_patched_code() -> None:
    """What the function leaves in its thread, such as a hub of gevent's, goes away with the call."""
    import time

    async with unchanged():
        for _ in range(3):
            await to_thread.run_sync(time.sleep, 0.001)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
