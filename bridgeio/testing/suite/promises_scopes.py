"""Chapter: promises 1, 5 and 8. The tree of scopes, whose cancellation is whose, and deadlines."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.choosing import is_patched
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


async def _child(*, task_status: bridgeio.TaskStatus[Any]) -> None:
    task_status.started()


async def _handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    """Serves nobody."""


async def _enter_group() -> None:
    async with bridgeio.create_task_group():
        pytest.fail("the block was entered")


async def _start() -> None:
    with bridgeio.CancelScope(shield=True) as shield:
        async with bridgeio.create_task_group() as group:
            shield.shield = False
            await group.start(_child)


async def _serve() -> None:
    async with bridgeio.serve(_handler, "127.0.0.1"):
        pytest.fail("the server listens")


async def _wait_for_set_event() -> None:
    event = bridgeio.Event()
    event.set()
    await event.wait()


# Everything here could go on at once, or need not wait at all.
OPERATIONS: dict[str, Callable[[], Awaitable[Any]]] = {
    "sleep(0)": lambda: bridgeio.sleep(0),
    "sleep": lambda: bridgeio.sleep(0.001),
    "sleep_until": lambda: bridgeio.sleep_until(bridgeio.current_time() - 1),
    "checkpoint": bridgeio.lowlevel.checkpoint,
    "checkpoint_if_cancelled": bridgeio.lowlevel.checkpoint_if_cancelled,
    "Event.wait": _wait_for_set_event,
    "create_task_group": _enter_group,
    "TaskGroup.start": _start,
    "open_connection": lambda: bridgeio.open_connection("127.0.0.1", 9),
    "open_unix_connection": lambda: bridgeio.open_unix_connection("/nowhere"),
    "serve": _serve,
    "getaddrinfo": lambda: bridgeio.getaddrinfo("127.0.0.1", 9),
    "getnameinfo": lambda: bridgeio.getnameinfo(("127.0.0.1", 9)),
    "create_udp_socket": lambda: bridgeio.create_udp_socket(local_host="127.0.0.1"),
    "create_connected_udp_socket": lambda: bridgeio.create_connected_udp_socket("127.0.0.1", 9),
    "create_unix_datagram_socket": bridgeio.create_unix_datagram_socket,
    "create_connected_unix_datagram_socket": lambda: bridgeio.create_connected_unix_datagram_socket("/nowhere"),
}


# Promise 1: scopes are a tree


@pytest.mark.bridgeio_promise(1)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_nothing_begins_in_a_cancelled_scope(name: str) -> None:
    """Each async function raises in a cancelled scope, the second time, too, whatever it would have done."""
    raised = 0
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        for _ in range(2):
            try:
                await OPERATIONS[name]()
            except bridgeio.get_cancelled_exc_class():
                raised += 1
        await bridgeio.sleep(0)
    assert raised == 2
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(1)
async def test_a_cancel_reaches_all_that_is_below() -> None:
    """Scopes in tasks in groups in scopes: each task ends, and the scope that was cancelled absorbs it all."""
    ended: list[str] = []

    async def leaf(name: str) -> None:
        with bridgeio.CancelScope() as mine:
            try:
                await bridgeio.sleep_forever()
            finally:
                ended.append(name)
        assert not mine.cancelled_caught

    async def branch(name: str) -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(leaf, name + "1")
            group.start_soon(leaf, name + "2")

    with bridgeio.CancelScope() as top:
        async with bridgeio.create_task_group() as group:
            group.start_soon(branch, "a")
            group.start_soon(branch, "b")
            await bridgeio.sleep(0.002)
            top.cancel()
    assert top.cancelled_caught
    assert sorted(ended) == ["a1", "a2", "b1", "b2"]


@pytest.mark.bridgeio_promise(1)
async def test_a_shield_may_be_lowered_and_raised() -> None:
    """Taking a shield away lets the outer cancel in, to a task that waits by then, too; raising it keeps one out."""
    shield = bridgeio.CancelScope(shield=True)
    log: list[str] = []

    async def lower() -> None:
        shield.shield = False

    with bridgeio.CancelScope() as outer:
        async with bridgeio.create_task_group() as group:
            with bridgeio.CancelScope(shield=True) as other:
                other.shield = False
                other.shield = True
                outer.cancel()
                await bridgeio.sleep(0.001)
                log.append("behind the shield")
                with shield:
                    other.shield = False
                    await bridgeio.sleep(0.001)
                    log.append("behind the next one")
                    group.start_soon(_in_a_shield, lower)
                    await bridgeio.sleep_forever()
                log.append("too far")
    assert outer.cancelled_caught
    assert log == ["behind the shield", "behind the next one"]


async def _in_a_shield(function: Callable[[], Awaitable[None]]) -> None:
    with bridgeio.CancelScope(shield=True):
        await bridgeio.sleep(0)
        await function()


@pytest.mark.bridgeio_promise(1)
async def test_a_cancel_reaches_through_a_thousand_scopes() -> None:
    """The outermost of a thousand scopes ends the innermost wait, and it alone has caught anything."""
    scopes = [bridgeio.CancelScope() for _ in range(1000)]
    for scope in scopes:
        scope.__enter__()
    scopes[0].cancel()
    error: BaseException | None = None
    try:
        await bridgeio.sleep_forever()
    except bridgeio.get_cancelled_exc_class() as caught:
        error = caught
    for scope in reversed(scopes):
        if scope.__exit__(type(error) if error else None, error, None):
            error = None
    assert [scope for scope in scopes if scope.cancelled_caught] == scopes[:1]


# Promise 5: identity, not messages


@pytest.mark.bridgeio_promise(5)
async def test_another_scopes_cancellation_is_not_absorbed() -> None:
    """An old cancellation that is raised again passes through a scope that was not cancelled."""
    kept: list[BaseException] = []
    with bridgeio.CancelScope() as first:
        first.cancel()
        try:
            await bridgeio.sleep(0)
        except bridgeio.get_cancelled_exc_class() as error:
            kept.append(error)
            raise
    second = bridgeio.CancelScope()
    with pytest.raises(bridgeio.get_cancelled_exc_class()), second:
        raise kept.pop()
    assert not second.cancelled_caught


@pytest.mark.bridgeio_promise(5)
async def test_a_cancellation_turned_into_another_error() -> None:
    """Code that makes an error of its own of a cancellation: that error comes out, and the scope has caught nothing."""
    scope = bridgeio.CancelScope()

    async def block() -> None:
        with scope:
            scope.cancel()
            try:
                await bridgeio.sleep(0)
            except bridgeio.get_cancelled_exc_class() as error:
                raise LookupError("a third party's") from error

    with pytest.raises(LookupError):
        await block()
    assert not scope.cancelled_caught
    await bridgeio.sleep(0.001)


@pytest.mark.bridgeio_promise(5)
async def test_a_cancellation_in_an_exception_group() -> None:
    """A scope takes its cancellation out of a group of exceptions, and lets the rest go on."""
    scope = bridgeio.CancelScope()

    async def block() -> None:
        with scope:
            scope.cancel()
            try:
                await bridgeio.sleep(0)
            except bridgeio.get_cancelled_exc_class() as error:
                raise BaseExceptionGroup("both", [error, LookupError()]) from None

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(5)
async def test_except_star_leaves_the_cancellation_alone() -> None:
    """``except*`` for a failure handles that; the cancellation around it goes on, and its scope absorbs it."""
    handled: list[str] = []

    async def fail_late() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            raise LookupError

    with bridgeio.CancelScope() as scope:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(fail_late)
                await bridgeio.sleep(0.001)
                scope.cancel()
        except* LookupError:
            handled.append("failure")
        await bridgeio.sleep(0)
        handled.append("too far")
    assert scope.cancelled_caught
    assert handled == ["failure"]


# Promise 8: deadlines are part of the tree


@pytest.mark.bridgeio_promise(8)
async def test_the_effective_deadline() -> None:
    """It is the earliest one around the task, up to a shield; minus infinity where that has come."""
    now = bridgeio.current_time()
    assert bridgeio.current_effective_deadline() > now
    with bridgeio.CancelScope(shield=True):
        assert bridgeio.current_effective_deadline() == math.inf
        with bridgeio.move_on_at(now + 100) as outer, bridgeio.move_on_at(now + 200) as inner:
            assert bridgeio.current_effective_deadline() == now + 100
            inner.shield = True
            assert bridgeio.current_effective_deadline() == now + 200
            inner.deadline = now + 50
            assert bridgeio.current_effective_deadline() == now + 50
            outer.cancel()
            assert bridgeio.current_effective_deadline() == now + 50
            inner.shield = False
            assert bridgeio.current_effective_deadline() == -math.inf


@pytest.mark.bridgeio_promise(8)
async def test_a_shield_hides_an_outer_deadline() -> None:
    """A deadline that passes outside a shield ends nothing inside, and cancels once the shield is left."""
    log: list[str] = []
    with bridgeio.move_on_after(0.001) as outer:
        with bridgeio.CancelScope(shield=True):
            await until(lambda: outer.cancel_called)
            await bridgeio.sleep(0)
            log.append("shielded")
        await bridgeio.sleep(0)
        log.append("too far")
    assert outer.cancelled_caught
    assert log == ["shielded"]


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_that_was_seen_to_pass_cancels_the_next_wait() -> None:
    """Code that does not wait finds its scope cancelled, and from then on it is: no wait gets past that."""
    log: list[str] = []
    with bridgeio.move_on_after(0.001) as scope:
        while not scope.cancel_called:
            pass
        await bridgeio.sleep(0)
        log.append("too far")
    assert scope.cancelled_caught
    assert log == []


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_counts_for_children() -> None:
    """A deadline around a group ends the children that wait, whatever their own deadlines are."""
    log: list[str] = []

    async def child() -> None:
        with bridgeio.move_on_after(1000) as mine:
            await bridgeio.sleep_forever()
        log.append(f"too far: {mine.cancelled_caught}")

    with bridgeio.move_on_after(0.002) as scope:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
    assert scope.cancelled_caught
    assert log == []


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_that_is_put_off_and_drawn_near() -> None:
    """It ends nothing at a time from which it was moved away, and ends the block at the one that it has at last."""
    begun = bridgeio.current_time()
    with bridgeio.move_on_after(0.01) as scope:
        scope.deadline = begun + 1000
        await bridgeio.sleep_until(begun + 0.02)
        scope.deadline = begun + 2000
        await bridgeio.sleep(0)
        assert not scope.cancel_called
        scope.deadline = near = bridgeio.current_time() + 0.01
        await bridgeio.sleep_forever()
    assert scope.cancelled_caught
    assert bridgeio.current_time() >= near


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_that_is_put_off_again_and_again() -> None:
    """It ends the block at the last of all those times, a group's block too, and is what everybody is told."""
    begun = bridgeio.current_time()
    async with bridgeio.create_task_group() as group:
        scope = group.cancel_scope
        for number in range(1, 6):
            scope.deadline = begun + 0.004 * number
            assert scope.deadline == bridgeio.current_effective_deadline() == begun + 0.004 * number
            await bridgeio.sleep(0)
        await bridgeio.sleep_forever()
    assert scope.cancelled_caught
    assert bridgeio.current_time() >= begun + 0.02


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_that_is_put_off_and_taken_back() -> None:
    """An infinite one ends nothing, whatever was set before it; and nor does one whose block is left."""
    begun = bridgeio.current_time()
    with bridgeio.move_on_after(0.004) as left:
        left.deadline = begun + 0.005
        left.deadline = begun + 0.006
    with bridgeio.move_on_after(0.004) as scope:
        scope.deadline = begun + 0.005
        scope.deadline = begun + 0.006
        scope.deadline = math.inf
        await bridgeio.sleep_until(begun + 0.01)
    left.deadline = begun + 0.011
    left.deadline = begun + 0.012
    await bridgeio.sleep_until(begun + 0.02)
    assert not left.cancel_called
    assert not scope.cancel_called


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_that_is_no_number_is_refused() -> None:
    """NaN is a ValueError at once, before and in the block, and the deadline stays what it was."""
    scope = bridgeio.CancelScope()
    with pytest.raises(ValueError, match="NaN"):
        scope.deadline = math.nan
    assert scope.deadline == math.inf
    with bridgeio.move_on_after(0.001) as scope:
        with pytest.raises(ValueError, match="NaN"):
            scope.deadline = math.nan
        await bridgeio.sleep_forever()
    assert scope.cancelled_caught


@pytest.mark.bridgeio_promise(8)
async def test_a_deadline_that_is_missed_without_a_wait_is_none() -> None:
    """``fail_after`` whose block ended before it waited ends in peace, though its time was over."""
    with bridgeio.fail_after(-1) as scope:
        pass
    assert not scope.cancelled_caught


# Entering and leaving


async def test_a_scope_is_entered_once() -> None:
    """A second time is a RuntimeError, inside its block and after it."""
    scope = bridgeio.CancelScope()
    with scope, pytest.raises(RuntimeError, match="before"), scope:
        pytest.fail("entered")
    with pytest.raises(RuntimeError, match="before"), scope:
        pytest.fail("entered")


async def test_a_scope_is_left_once() -> None:
    """Leaving one that was not entered, or was left, is a RuntimeError that touches nothing."""
    scope = bridgeio.CancelScope()
    with pytest.raises(RuntimeError, match="not entered"):
        scope.__exit__(None, None, None)
    with scope:
        await bridgeio.sleep(0)
    with pytest.raises(RuntimeError):
        scope.__exit__(None, None, None)
    await bridgeio.sleep(0)


def test_outside_any_run(backend: str) -> None:
    """Where nothing runs, the functions that need a clock or a class say so; scopes and groups may be made there."""
    if is_patched():
        pytest.skip("a process that gevent has patched is a gevent program wherever one looks")
    bridgeio.CancelScope(deadline=1.0)
    bridgeio.create_task_group()
    for function in (
        bridgeio.get_cancelled_exc_class,
        bridgeio.current_time,
        bridgeio.current_effective_deadline,
        bridgeio.CancelScope().__enter__,
    ):
        with pytest.raises(bridgeio.NoBackendError):
            function()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
