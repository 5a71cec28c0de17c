"""Chapter: strangers. What is not safe in a foreign thread says so, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio


async def _in_a_thread(function: Callable[[], object]) -> BaseException | None:
    """What the call raised in a thread that bridgeio knows nothing of."""
    ended: list[BaseException | None] = []

    def work() -> None:
        try:
            function()
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    original("_thread", "start_new_thread")(work, ())
    await until(lambda: ended)
    return ended[0]


async def test_a_scope_is_not_cancelled_by_a_foreign_thread() -> None:
    """``cancel``, a deadline and a shield, set by another thread: a RuntimeError, and the block goes on."""
    with bridgeio.move_on_after(1000) as scope:
        scope.deadline += 1

        def move() -> None:
            scope.deadline = 0.0

        def put_off() -> None:
            scope.deadline += 1000

        def lower() -> None:
            scope.shield = True

        for function in (scope.cancel, move, put_off, lower):
            error = await _in_a_thread(function)
            assert isinstance(error, RuntimeError)
            assert "thread" in str(error)
        await bridgeio.sleep(0)
        assert not scope.shield
    assert not scope.cancel_called


async def test_a_foreign_thread_starts_no_task() -> None:
    """``start_soon`` in another thread is a RuntimeError, and makes no coroutine that nobody awaits."""
    started: list[str] = []

    async def child() -> None:
        started.append("child")

    async with bridgeio.create_task_group() as group:
        error = await _in_a_thread(lambda: group.start_soon(child))
    assert isinstance(error, RuntimeError)
    assert "thread" in str(error)
    assert started == []


async def test_a_foreign_thread_does_not_say_that_a_child_has_started() -> None:
    """``task_status.started`` in another thread is a RuntimeError, and the caller of ``start`` waits on."""
    errors: list[BaseException | None] = []

    async def child(*, task_status: bridgeio.TaskStatus[str]) -> None:
        errors.append(await _in_a_thread(lambda: task_status.started("elsewhere")))
        task_status.started("here")

    async with bridgeio.create_task_group() as group:
        assert await group.start(child) == "here"
    assert isinstance(errors[0], RuntimeError)
    assert "thread" in str(errors[0])


async def test_an_event_is_not_set_by_a_foreign_thread() -> None:
    """With tasks that wait, ``set`` in another thread is a RuntimeError: the event stays unset, and they wait on."""
    event = bridgeio.Event()
    async with bridgeio.create_task_group() as group:
        group.start_soon(event.wait)
        await until(lambda: event.statistics().tasks_waiting)
        error = await _in_a_thread(event.set)
        assert isinstance(error, RuntimeError)
        assert "a wait for an Event was called in another thread" in str(error)
        assert "hand the call over" in str(error)
        assert not event.is_set()
        assert event.statistics().tasks_waiting == 1
        event.set()


async def test_what_a_thread_hands_over_is_welcome() -> None:
    """Callbacks that the host makes for another thread may do all of it."""
    event, started = bridgeio.Event(), bridgeio.Event()
    host = current_host()

    async def child() -> None:
        started.set()

    async with bridgeio.create_task_group() as group:
        with bridgeio.CancelScope() as scope:

            def all_of_it() -> None:
                group.start_soon(child)
                event.set()
                scope.cancel()

            group.start_soon(event.wait)
            await until(lambda: event.statistics().tasks_waiting)
            assert await _in_a_thread(lambda: host.call_soon_threadsafe(all_of_it)) is None
            await bridgeio.sleep_forever()
        await started.wait()
        await event.wait()
    assert scope.cancelled_caught


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
