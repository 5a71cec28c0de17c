"""Chapter: promises 2, 3, 4, 9 and 10. What a cancel does to a wait: ours, the framework's, and none at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.natives import Native
from bridgeio.testing.peers import peer_stream
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


# Promise 2: each wait has an abort


@pytest.mark.bridgeio_promise(2)
async def test_a_sleep_that_is_over_is_not_cancelled() -> None:
    """A cancel that comes after the time has passed, and before the sleeper goes on, comes at its next wait."""
    log: list[str] = []

    async def sleeper(scope: bridgeio.CancelScope, event: bridgeio.Event) -> None:
        with scope:
            await event.wait()
            log.append("woken")
            await bridgeio.lowlevel.checkpoint_if_cancelled()
            log.append("too far")

    scopes = [bridgeio.CancelScope() for _ in range(3)]
    event = bridgeio.Event()
    async with bridgeio.create_task_group() as group:
        for scope in scopes:
            group.start_soon(sleeper, scope, event)
        await until(lambda: event.statistics().tasks_waiting == 3)
        event.set()
        for scope in scopes:
            scope.cancel()
    assert log == ["woken"] * 3
    assert all(scope.cancelled_caught for scope in scopes)


@pytest.mark.bridgeio_promise(2)
async def test_a_cancel_that_came_first_wins() -> None:
    """A wait that was taken back stays so, though what it waited for happens before the task goes on."""
    log: list[str] = []
    event, scope = bridgeio.Event(), bridgeio.CancelScope()

    async def wait() -> None:
        with scope:
            await event.wait()
            log.append("too far")

    async with bridgeio.create_task_group() as group:
        group.start_soon(wait)
        await until(lambda: event.statistics().tasks_waiting)
        scope.cancel()
        assert event.statistics().tasks_waiting == 0
        event.set()
    assert scope.cancelled_caught
    assert log == []


# Promise 3: a foreign wait is cancelled once


@pytest.mark.bridgeio_promise(3)
@pytest.mark.bridgeio_needs("native_await_cancelled")
async def test_a_scope_ends_a_foreign_wait(native: Native) -> None:
    """A deadline ends a wait of the framework's own, and the scope absorbs the cancellation."""
    with bridgeio.move_on_after(0.002) as scope:
        await native.wait_forever()
    assert scope.cancelled_caught
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        await native.wait_forever()
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(3)
@pytest.mark.bridgeio_needs("native_await_cancelled", "native_await_cancelled_once")
async def test_foreign_cleanup_may_wait(native: Native) -> None:
    """After its one cancellation foreign code cleans up with waits of its own, and none of them is cancelled."""
    log: list[str] = []
    with bridgeio.move_on_after(0.002) as scope:
        try:
            await native.wait_forever()
        finally:
            await native.give_way(5)
            log.append("cleaned up")
    assert scope.cancelled_caught
    assert log == ["cleaned up"]


@pytest.mark.bridgeio_promise(3)
@pytest.mark.bridgeio_needs("native_await_cancelled", "native_await_cancelled_once")
async def test_a_second_cancel_is_told_once_more(native: Native) -> None:
    """Foreign code that swallowed its cancellation makes the scope wait; an explicit second one ends its next wait."""
    swallowed: list[str] = []
    scope = bridgeio.CancelScope()
    waiting = bridgeio.Event()

    async def stubborn() -> None:
        with scope:
            waiting.set()
            for name in ("first", "second"):
                try:
                    await native.wait_forever()
                except BaseException:
                    swallowed.append(name)

    async with bridgeio.create_task_group() as group:
        group.start_soon(stubborn)
        await waiting.wait()
        await native.give_way(5)
        scope.cancel()
        await until(lambda: swallowed)
        await native.give_way(10)
        after_one = list(swallowed)
        scope.cancel()
    assert after_one == ["first"]
    assert swallowed == ["first", "second"]


@pytest.mark.bridgeio_promise(3)
@pytest.mark.bridgeio_needs("native_await_cancelled")
async def test_after_a_foreign_wait_ours_are_cancelled_as_ever(native: Native) -> None:
    """Swallowing a cancellation in a foreign wait is no way out: each wait of ours raises."""
    log: list[str] = []
    with bridgeio.move_on_after(0.002) as scope:
        try:
            await native.wait_forever()
        except bridgeio.get_cancelled_exc_class():
            log.append("foreign")
        for _ in range(2):
            try:
                await bridgeio.sleep(0)
            except bridgeio.get_cancelled_exc_class():
                log.append("ours")
        await bridgeio.sleep(0)
    assert scope.cancelled_caught
    assert log == ["foreign", "ours", "ours"]


# Promise 4: a native cancel passes through


async def _sleep(ready: bridgeio.Event) -> None:
    ready.set()
    await bridgeio.sleep_forever()


async def _sleep_in_a_scope(ready: bridgeio.Event) -> None:
    with bridgeio.CancelScope() as scope:
        await _sleep(ready)
    pytest.fail(f"the scope swallowed it: {scope.cancelled_caught}")


async def _sleep_before_a_deadline(ready: bridgeio.Event) -> None:
    with bridgeio.fail_after(1000):
        await _sleep(ready)
    pytest.fail("the deadline swallowed it")


async def _wait_for_children(ready: bridgeio.Event) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(_sleep, ready)
    pytest.fail("the group swallowed it")


async def _wait_in_a_group(ready: bridgeio.Event) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(bridgeio.sleep_forever)
        await _sleep(ready)
    pytest.fail("the group swallowed it")


async def _wait_in_start(ready: bridgeio.Event) -> None:
    async def child(*, task_status: bridgeio.TaskStatus[Any]) -> None:
        await _sleep(ready)

    async with bridgeio.create_task_group() as group:
        await group.start(child)
    pytest.fail("start() swallowed it")


PLACES: dict[str, Callable[[bridgeio.Event], Awaitable[None]]] = {
    "a wait": _sleep,
    "a scope": _sleep_in_a_scope,
    "a deadline": _sleep_before_a_deadline,
    "a group's end": _wait_for_children,
    "a group's block": _wait_in_a_group,
    "start": _wait_in_start,
}


@pytest.mark.bridgeio_promise(4)
@pytest.mark.bridgeio_needs("native_cancel")
@pytest.mark.parametrize("place", PLACES)
async def test_a_native_cancel_comes_out_as_what_it_is(native: Native, place: str) -> None:
    """From every place in which a task of the framework's can wait, its cancellation reaches the framework."""
    ready = bridgeio.Event()

    async def function() -> None:
        await PLACES[place](ready)

    await native.cancelled_from_outside(function, ready)


@pytest.mark.bridgeio_promise(4)
@pytest.mark.bridgeio_needs("native_cancel")
async def test_a_native_cancel_ends_children_first(native: Native) -> None:
    """The children of a task that is cancelled natively have ended, cleanup included, before it has."""
    ready, log = bridgeio.Event(), []

    async def child() -> None:
        try:
            await _sleep(ready)
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.002)
            log.append("child")

    async def parent() -> None:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(child)
        finally:
            log.append("parent")

    await native.cancelled_from_outside(parent, ready)
    assert log == ["child", "parent"]


@pytest.mark.bridgeio_promise(4)
@pytest.mark.bridgeio_bug("swallowed-native-cancel")
@pytest.mark.bridgeio_needs("native_cancel")
async def test_a_native_cancel_beside_a_scopes_own(native: Native) -> None:
    """A scope is cancelled, and in the same turn its task natively: the scope does not swallow the native one."""
    ready, scope = bridgeio.Event(), bridgeio.CancelScope()
    waiting = bridgeio.Event()

    async def function() -> None:
        with scope:
            waiting.set()
            await bridgeio.sleep_forever()
        await bridgeio.sleep(0)
        await bridgeio.sleep_forever()

    async def cancel() -> None:
        await waiting.wait()
        await bridgeio.sleep(0.001)
        scope.cancel()
        ready.set()

    async with bridgeio.create_task_group() as group:
        group.start_soon(cancel)
        await native.cancelled_from_outside(function, ready)


# Promise 9: a task always starts


@pytest.mark.bridgeio_promise(9)
@pytest.mark.bridgeio_bug("cancelled-before-first-step")
async def test_what_was_passed_to_a_cancelled_child_is_closed() -> None:
    """A child that gets a stream, in a group that is cancelled in the same breath, closes it."""

    async def serve(writer: bridgeio.Writer) -> None:
        async with writer:
            await bridgeio.sleep_forever()

    async with peer_stream() as (_, writer, peer):
        async with bridgeio.create_task_group() as group:
            group.start_soon(serve, writer)
            group.cancel_scope.cancel()
        assert await peer.receive_all() == b""


@pytest.mark.bridgeio_promise(9)
@pytest.mark.bridgeio_bug("cancelled-before-first-step")
async def test_a_child_of_start_begins_in_a_caller_that_is_cancelled_at_once() -> None:
    """The caller of ``start`` is cancelled before its child's first step: the child still starts and ends."""
    log: list[str] = []
    scope = bridgeio.CancelScope()

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        log.append("begun")
        try:
            await bridgeio.sleep_forever()
        finally:
            log.append("ended")

    async with bridgeio.create_task_group() as group:
        with scope:
            group.start_soon(_cancel, scope)
            await group.start(child)
    assert scope.cancelled_caught
    assert log == ["begun", "ended"]


async def _cancel(scope: bridgeio.CancelScope) -> None:
    scope.cancel()


# Promise 10: a cancel reaches every wait, and no running code


@pytest.mark.bridgeio_promise(10)
async def test_a_task_that_waits_for_a_descriptor_is_woken() -> None:
    """A read from a silent peer, which nothing but the cancel could end, ends."""
    log: list[str] = []
    scope = bridgeio.CancelScope()

    async def read(reader: bridgeio.Reader) -> None:
        with scope:
            await reader.read()
        log.append("read")

    async with peer_stream() as (reader, _, _peer), bridgeio.create_task_group() as group:
        group.start_soon(read, reader)
        await until(lambda: reader._reading)
        scope.cancel()
    assert scope.cancelled_caught
    assert log == ["read"]


@pytest.mark.bridgeio_promise(10)
async def test_running_code_is_not_interrupted() -> None:
    """What stands between a cancel and the next wait is done, and the wait raises."""
    log: list[str] = []
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        log.append("done")
        with bridgeio.lowlevel.blocking_section():
            log.append("done in a blocking section")
        await bridgeio.sleep(0)
        log.append("too far")
    assert log == ["done", "done in a blocking section"]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
