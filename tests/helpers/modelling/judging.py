"""The judge of the model: Trio itself, in the words of `modelling.worlds.World`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Any

import trio
import trio.testing

from modelling.worlds import LOCKS, trio_in_the_same_order

__all__ = ["PlainTrio"]


class PlainTrio:
    """Trio without a line of bridgeio. Where the two have other words for the same, it follows the documentation of
    bridgeio: ``start``, waiting for a notice, and entering and leaving a group, look for a cancellation first, a
    cancelled ``start`` whose child ends without a word says that it was cancelled, groups leave cancellations out,
    and `TimeoutError` is for a deadline only. Trio has no queue and no barrier, but a channel and a
    parking lot, of which they are made here."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []

    def run(self, main: Callable[[], Any]) -> None:
        try:
            with trio_in_the_same_order():
                trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        finally:
            for queue in self._queues:
                queue.close()
            self._queues.clear()

    now = staticmethod(trio.current_time)
    sleep = staticmethod(trio.sleep)
    checkpoint = staticmethod(trio.lowlevel.checkpoint)
    new_event = trio.Event

    def cancelled(self) -> type[BaseException]:
        return trio.Cancelled

    def new_scope(self, deadline: float, shield: bool, fails: bool) -> Any:
        return _Deadline(deadline, shield, fails)

    def entered(self, scope: Any) -> Any:
        return scope.entered()

    def new_group(self) -> Any:
        return _Nursery()

    def scope_of(self, group: Any) -> Any:
        return group.cancel_scope

    def entered_group(self, group: Any) -> Any:
        return group.entered()

    def new_lock(self, kind: str) -> Any:
        return LOCKS[kind](trio)

    async def wait_for_notice(self, condition: trio.Condition) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        await condition.wait()

    def new_barrier(self) -> Any:
        return _Barrier()

    def new_channel(self, room: int) -> Any:
        return trio.open_memory_channel[str](room)

    def new_queue(self, maxsize: int) -> Any:
        self._queues.append(_Queue(maxsize))
        return self._queues[-1]


class _Deadline:
    """A `trio.CancelScope` that knows whether it was cancelled by hand."""

    def __init__(self, deadline: float, shield: bool, fails: bool) -> None:
        self._scope = trio.CancelScope(deadline=deadline, shield=shield)
        self._by_hand = False
        self._entered = False
        self._fails = fails

    def cancel(self) -> None:
        self._by_hand = self._by_hand or not (self._entered and self._scope.cancel_called)
        self._scope.cancel()

    @property
    def cancel_called(self) -> bool:
        return self._scope.cancel_called

    @property
    def cancelled_caught(self) -> bool:
        return self._scope.cancelled_caught

    @property
    def deadline(self) -> float:
        return self._scope.deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._scope.deadline = when

    @property
    def shield(self) -> bool:
        return self._scope.shield

    @shield.setter
    def shield(self, value: bool) -> None:
        self._scope.shield = value

    @contextmanager
    def entered(self) -> Iterator[None]:
        self._entered = True
        with self._scope:
            yield
        if self._fails and self._scope.cancelled_caught and not self._by_hand:
            raise TimeoutError


class _Nursery:
    """A nursery that can be spoken of before it is open."""

    def __init__(self) -> None:
        self.cancel_scope: Any = trio.CancelScope()
        self._nursery: trio.Nursery | None = None

    def start_soon(self, function: Any, *args: Any) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(function, *args)

    async def start(self, function: Any, *args: Any) -> Any:
        assert self._nursery is not None
        await trio.lowlevel.checkpoint_if_cancelled()
        ended = False

        async def child(*args: Any, task_status: Any) -> None:
            nonlocal ended
            await function(*args, task_status=task_status)
            ended = True

        try:
            return await self._nursery.start(child, *args)
        except RuntimeError:
            if ended:
                await trio.lowlevel.checkpoint_if_cancelled()
            raise

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[_Nursery]:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            async with trio.open_nursery() as self._nursery:
                before, self.cancel_scope = self.cancel_scope, self._nursery.cancel_scope
                if before.cancel_called:
                    self.cancel_scope.cancel()
                self.cancel_scope.deadline = min(before.deadline, inf)
                yield self
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseExceptionGroup as group:
            raise _without_cancellations(group) from None


class _Barrier:
    """For two. Trio lets who is parked be either cancelled or woken, and that is all that a barrier is about."""

    def __init__(self) -> None:
        self._lot = trio.lowlevel.ParkingLot()

    async def wait(self) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._lot.unpark():
            await trio.lowlevel.cancel_shielded_checkpoint()
            return 1
        await self._lot.park()
        return 0


class QueueShutDown(Exception):  # noqa: N818 - called as bridgeio's
    pass


class _Queue:
    """A memory channel, which is also what counts its items, and a parking lot for those who wait for the last one.

    An item has come in when there is room for it or when somebody takes it: that can be seen before.
    """

    def __init__(self, maxsize: int) -> None:
        self._maxsize = maxsize
        self._sender, self._receiver = trio.open_memory_channel[str](maxsize)
        self._unfinished = 0
        self._joiners = trio.lowlevel.ParkingLot()
        self._is_shut_down = False

    async def put(self, item: str) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        state = self._sender.statistics() if not self._is_shut_down else None
        if state is not None and (state.tasks_waiting_receive or state.current_buffer_used < self._maxsize):
            self._unfinished += 1
        try:
            await self._sender.send(item)
        except trio.ClosedResourceError:
            raise QueueShutDown from None

    async def get(self) -> str:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._receiver.statistics().tasks_waiting_send:
            self._unfinished += 1
        try:
            return await self._receiver.receive()
        except trio.EndOfChannel:
            raise QueueShutDown from None

    def task_done(self) -> None:
        if not self._unfinished:
            raise ValueError
        self._finish(1)

    async def join(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._unfinished:
            await self._joiners.park()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def shutdown(self, immediate: bool) -> None:
        self._is_shut_down = True
        self._sender.close()
        if immediate:
            count = self._receiver.statistics().current_buffer_used
            for _ in range(count):
                self._receiver.receive_nowait()
            self._finish(min(count, self._unfinished))

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()

    def _finish(self, count: int) -> None:
        self._unfinished -= count
        if not self._unfinished:
            self._joiners.unpark_all()


def _without_cancellations(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    cancelled, failures = error.split(trio.Cancelled)
    if failures is not None:
        return failures
    assert cancelled is not None
    return _without_cancellations(cancelled.exceptions[0])
