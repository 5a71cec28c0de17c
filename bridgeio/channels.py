"""Memory object streams: items from task to task between ends that are closed, with AnyIO's names and meaning."""

from __future__ import annotations

import warnings
from math import inf
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from bridgeio.errors import BrokenResourceError, ClosedResourceError, EndOfStream, WouldBlock
from bridgeio.handover import Deal, Handover
from bridgeio.records import Record
from bridgeio.registry import current_task
from bridgeio.waiters import Line

__all__ = [
    "MemoryObjectReceiveStream",
    "MemoryObjectSendStream",
    "MemoryObjectStreamStatistics",
    "create_memory_object_stream",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


class MemoryObjectStreamStatistics(Record):
    """:ivar current_buffer_used: how many items are in the buffer.
    :ivar max_buffer_size: how many there may be.
    :ivar open_send_streams: how many clones of the sending end are open.
    :ivar open_receive_streams: how many clones of the receiving end are open.
    :ivar tasks_waiting_send: how many tasks wait in ``send``, through any clone.
    :ivar tasks_waiting_receive: how many tasks wait in ``receive``, through any clone.
    """

    current_buffer_used: int
    max_buffer_size: float
    open_send_streams: int
    open_receive_streams: int
    tasks_waiting_send: int
    tasks_waiting_receive: int


class _Channel(Handover[T]):
    """What all ends of one stream share."""

    __slots__ = ("receivers", "senders")

    def __init__(self, room: float) -> None:
        super().__init__(room, "a memory object stream")
        self.senders = 0
        self.receivers = 0


class _End:
    """What a sending and a receiving end have in common: both are cloned and closed, and tell what goes on."""

    def __init__(self, channel: _Channel[Any]) -> None:
        self._channel = channel
        self._closed = False
        self._open_one()

    def clone(self) -> Self:
        """Another end of the same stream, to be closed on its own.

        :raises ClosedResourceError: if this one is closed.
        """
        self._check_open()
        return type(self)(self._channel)

    def close(self) -> None:
        """Closes this end; a second call does nothing. Tasks that wait through it, not through a clone,
        raise `ClosedResourceError`; an item that changed hands before has changed hands.

        :raises SharedBetweenRunsError: if tasks of another run wait; it is still open then.
        """
        if not self._closed:
            self._channel.check_caller()
            self._closed = True
            self._close_one()

    async def aclose(self) -> None:
        """The same. It does not wait, and closes in a cancelled scope too."""
        self.close()

    def statistics(self) -> MemoryObjectStreamStatistics:
        """What the stream is doing now; the same from all its ends."""
        channel = self._channel
        return MemoryObjectStreamStatistics(
            current_buffer_used=len(channel.buffer),
            max_buffer_size=channel.room,
            open_send_streams=channel.senders,
            open_receive_streams=channel.receivers,
            tasks_waiting_send=len(channel.givers),
            tasks_waiting_receive=len(channel.takers),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        """Only warns. To close here would wake tasks from wherever the collector happens to run."""
        if not self._closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self)

    def _open_one(self) -> None:
        raise NotImplementedError

    def _close_one(self) -> None:
        raise NotImplementedError

    def _check_open(self) -> None:
        if self._closed:
            raise self._closed_error()

    def _closed_error(self) -> ClosedResourceError:
        return ClosedResourceError(f"this {type(self).__name__} is closed")

    def _send_away(self, line: Line[Deal[Any]]) -> None:
        """Those who wait through this end, and not through a clone."""
        line.grant_those(lambda deal: deal.party is self)


class MemoryObjectSendStream(_End, Generic[T_contra]):
    """The end that items go into. Made by `create_memory_object_stream` and `clone`; close it, or use ``with``.

    Any number of tasks may send at once, and are served in the order in which they came.
    """

    async def send(self, item: T_contra) -> None:
        """Sends an item, and waits until somebody receives it or there is room for it in the buffer.
        Cancelled, it has sent nothing.

        :raises ClosedResourceError: if this end is closed, before or meanwhile; nothing was sent.
        :raises BrokenResourceError: if every receiving end is, before or meanwhile; nothing was sent.
        :raises SharedBetweenRunsError: if tasks of another run wait for this stream.
        """
        task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        channel = self._channel
        if self._closed or not channel.receivers:
            raise self._broken()
        if channel.give(item):
            task.budget -= 1
            if task.budget <= 0:
                await task.give_way()
            return
        deal: Deal[Any] = Deal(self, item)
        await channel.givers.join(task, deal)
        if not deal.done:
            raise self._broken()

    def send_nowait(self, item: T_contra) -> None:
        """The same without waiting. Callbacks in the run's thread may call it too.

        :raises WouldBlock: if nobody is waiting to receive, and there is no room in the buffer.
        """
        if self._closed or not self._channel.receivers:
            raise self._broken()
        if not self._channel.give(item):
            raise WouldBlock("nobody is waiting to receive, and the buffer is full")

    def _broken(self) -> ClosedResourceError | BrokenResourceError:
        if self._closed:
            return self._closed_error()
        return BrokenResourceError("every receiving end of this stream is closed")

    def _open_one(self) -> None:
        self._channel.senders += 1

    def _close_one(self) -> None:
        channel = self._channel
        channel.senders -= 1
        self._send_away(channel.givers)
        if not channel.senders:
            channel.takers.grant_all()


class MemoryObjectReceiveStream(_End, Generic[T_co]):
    """The end that items come out of. Made by `create_memory_object_stream` and `clone`; close it, or use ``with``.

    Any number of tasks may receive at once, and are served in the order in which they came; each item
    goes to one of them. ``async for item in stream`` receives until every sending end is closed.
    """

    async def receive(self) -> T_co:
        """The oldest item; waits for one. Cancelled, it has received nothing: an item that was handed to
        it in the same moment is returned, and the cancel comes at the task's next wait.

        :raises EndOfStream: if every sending end is closed, before or meanwhile, and nothing is left.
        :raises ClosedResourceError: if this end is closed, before or meanwhile.
        :raises SharedBetweenRunsError: if tasks of another run wait for this stream.
        """
        task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        channel: _Channel[T_co] = self._channel
        if not self._closed and channel.can_take():
            item = channel.take()
            task.budget -= 1
            if task.budget <= 0:
                await task.give_way()
            return item
        if self._closed or not channel.senders:
            raise self._ended()
        deal: Deal[T_co] = Deal(self)
        try:
            await channel.takers.join(task, deal)
        except BaseException:
            channel.give_back(deal)
            raise
        if not deal.done:
            raise self._ended()
        return deal.item

    def receive_nowait(self) -> T_co:
        """The same without waiting. Callbacks in the run's thread may call it too.

        :raises WouldBlock: if the buffer is empty, and nobody is waiting to send.
        """
        channel: _Channel[T_co] = self._channel
        if not self._closed and channel.can_take():
            return channel.take()
        if self._closed or not channel.senders:
            raise self._ended()
        raise WouldBlock("the buffer is empty, and nobody is waiting to send")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        try:
            return await self.receive()
        except EndOfStream:
            raise StopAsyncIteration from None

    def _ended(self) -> ClosedResourceError | EndOfStream:
        if self._closed:
            return self._closed_error()
        return EndOfStream("every sending end of this stream is closed, and every item was received")

    def _open_one(self) -> None:
        self._channel.receivers += 1

    def _close_one(self) -> None:
        channel = self._channel
        channel.receivers -= 1
        self._send_away(channel.takers)
        if not channel.receivers:
            channel.givers.grant_all()


class create_memory_object_stream(  # noqa: N801 - called as a function, and subscripted as a type
    tuple[MemoryObjectSendStream[T], MemoryObjectReceiveStream[T]]
):
    """The two ends of a new stream, as a pair. May be made outside any run.

    ``send, receive = create_memory_object_stream[int](5)`` tells type checkers what goes through it.

    :param max_buffer_size: how many items it holds before ``send`` waits; ``math.inf`` for no bound.
        With 0 each ``send`` waits until the item is received.
    :param item_type: another way to tell type checkers; bridgeio does not look at it.
    :raises ValueError: for a size that is negative, or neither an ``int`` nor infinity.
    """

    __slots__ = ()

    def __new__(cls, max_buffer_size: float = 0, item_type: type[T] | None = None) -> Self:
        if max_buffer_size != inf and not isinstance(max_buffer_size, int):
            raise ValueError(f"max_buffer_size must be an int or math.inf, not {max_buffer_size!r}")
        if max_buffer_size < 0:
            raise ValueError(f"max_buffer_size cannot be negative, and is {max_buffer_size}")
        channel: _Channel[T] = _Channel(max_buffer_size)
        return super().__new__(cls, (MemoryObjectSendStream(channel), MemoryObjectReceiveStream(channel)))
