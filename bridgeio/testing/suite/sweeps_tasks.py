"""Chapter: sweeps of tasks. Groups, scopes and sleeps, cancelled at each wait, their children's too.

Every child that has begun has ended, and every cleanup has run to its end, before the block is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import bridgeio
from bridgeio import lowlevel
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio

SHORT = 0.0003  # seconds


class Books:
    """What the tasks of an operation have begun and ended.

    :ivar began: children that have taken their first step.
    :ivar cleaned: those whose cleanup has run, with its own waits.
    """

    def __init__(self) -> None:
        self.began = 0
        self.cleaned = 0

    async def child(self, event: bridgeio.Event | None = None) -> None:
        """Waits once, or for the event; cleans up behind a shield."""
        self.began += 1
        try:
            await (bridgeio.sleep(SHORT) if event is None else event.wait())
        finally:
            with bridgeio.CancelScope(shield=True):
                await lowlevel.checkpoint()
                await bridgeio.sleep(SHORT)
                self.cleaned += 1

    async def failing_child(self) -> None:
        await self.child()
        raise KeyError("mine")

    async def starting_child(self, *, task_status: bridgeio.TaskStatus[int]) -> None:
        await lowlevel.checkpoint()
        try:
            await bridgeio.sleep(SHORT)
            task_status.started(7)
        finally:
            await self.child()


async def _sleep(books: Books) -> None:
    """One that was cancelled does not return: who returns has slept, by a clock that may be a little ahead."""
    await bridgeio.sleep(0)
    until = bridgeio.current_time() + SHORT
    await bridgeio.sleep(SHORT)
    assert bridgeio.current_time() > until - SHORT / 2, "a sleep has swallowed its cancellation"
    await bridgeio.sleep_until(until + SHORT)
    assert bridgeio.current_time() > until + SHORT / 2, "a sleep has swallowed its cancellation"


async def _sleep_forever(books: Books) -> None:
    with bridgeio.move_on_after(SHORT):
        await bridgeio.sleep_forever()
    with bridgeio.move_on_after(SHORT):
        await books.child(bridgeio.Event())


async def _checkpoints(books: Books) -> None:
    await lowlevel.checkpoint()
    await lowlevel.checkpoint_if_cancelled()
    await lowlevel.cancel_shielded_checkpoint()
    await lowlevel.checkpoint()


async def _start_soon(books: Books) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(books.child)
        group.start_soon(books.child)
        await bridgeio.sleep(SHORT)
    assert books.cleaned >= 2


async def _start(books: Books) -> None:
    async with bridgeio.create_task_group() as group:
        assert await group.start(books.starting_child) == 7


async def _start_what_fails(books: Books) -> None:
    async def fail(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await books.failing_child()

    async with bridgeio.create_task_group() as group:
        with pytest.raises(KeyError):
            await group.start(fail)


async def _start_what_never_does(books: Books) -> None:
    async def end(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await books.child()

    async with bridgeio.create_task_group() as group:
        with pytest.raises(RuntimeError, match="started"):
            await group.start(end)


async def _fail(books: Books) -> None:
    """The one that waits for the event is cancelled by the other's failure."""
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(books.child, bridgeio.Event())
            group.start_soon(books.failing_child)
    except* KeyError:
        assert books.cleaned == books.began


async def _groups_in_groups(books: Books) -> None:
    async with bridgeio.create_task_group() as outer:
        outer.start_soon(_start_soon, books)
        async with bridgeio.create_task_group() as inner:
            inner.start_soon(books.child)
        with bridgeio.CancelScope(shield=True):
            await books.child()


async def _deadlines(books: Books) -> None:
    with bridgeio.move_on_after(SHORT):
        await books.child(bridgeio.Event())
    with pytest.raises(TimeoutError), bridgeio.fail_after(SHORT):
        await books.child(bridgeio.Event())
    await lowlevel.checkpoint()


async def _cancelled_group(books: Books) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(books.child, bridgeio.Event())
        await bridgeio.sleep(SHORT)
        group.cancel_scope.cancel()
    assert books.cleaned == books.began


async def _an_event_between_children(books: Books) -> None:
    event = bridgeio.Event()

    async def set_later() -> None:
        await books.child()
        event.set()

    async with bridgeio.create_task_group() as group:
        group.start_soon(books.child, event)
        group.start_soon(books.child, event)
        group.start_soon(set_later)
    assert event.statistics().tasks_waiting == 0


OPERATIONS: dict[str, Callable[[Books], Awaitable[None]]] = {
    "sleep": _sleep,
    "sleep_forever": _sleep_forever,
    "checkpoint": _checkpoints,
    "start_soon and join": _start_soon,
    "start": _start,
    "start what fails": _start_what_fails,
    "start what never starts": _start_what_never_does,
    "a child fails": _fail,
    "groups in groups": _groups_in_groups,
    "deadlines": _deadlines,
    "a group is cancelled": _cancelled_group,
    "Event.wait": _an_event_between_children,
}


@pytest.mark.bridgeio_promise(6, 7)
@pytest.mark.parametrize("name", OPERATIONS)
async def test_swept_tasks(name: str) -> None:
    """Whatever is cancelled when, no child outlives its block, and no cleanup is cut short."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        books = Books()

        async def operation() -> None:
            await OPERATIONS[name](books)
            _agree(books)

        yield operation
        _agree(books)

    await sweep(world, name=name)


def _agree(books: Books) -> None:
    assert books.cleaned == books.began, "a child has begun and has not cleaned up"


@pytest.mark.bridgeio_promise(1)
async def test_a_cancelled_operation_hears_of_it_at_every_wait() -> None:
    """Level-triggered: after a sweep's cancel each further wait raises, and none goes through."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        heard: list[int] = []
        went_through: list[int] = []

        async def operation() -> None:
            try:
                await bridgeio.sleep(SHORT)
            finally:
                for number in range(3):
                    try:
                        await lowlevel.checkpoint()
                        went_through.append(number)
                    except bridgeio.get_cancelled_exc_class():
                        heard.append(number)

        yield operation
        assert heard == [] or heard[-1] == 2
        assert len(heard) + len(went_through) == 3

    await sweep(world, name="waits in a finally")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
