"""The sending half of a stream, with asyncio's names."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Protocol

from bridgeio.buffers import Bytes, Send, SendBuffer
from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Host, Task, get_current
from bridgeio.errors import StreamClosedError, WriteBufferFullError, describe, show_address
from bridgeio.limits import HIGH_WATER, LINGER, WRITE_LIMIT
from bridgeio.registry import current_task
from bridgeio.timers import Timer
from bridgeio.unpatched import get_ident

__all__ = ["ByteSink", "Writer"]


class ByteSink(Protocol):
    """Where a `Writer` puts its bytes: a non-blocking socket, or something that behaves like one.

    :ivar send: takes some of the bytes, and says how many; raises `BlockingIOError` if it takes none now,
        and any other `OSError` if it never will.
    :ivar usable: whether it may be tried at all; see ``why_unusable``.
    :ivar closed: whether ``close`` was called.
    """

    host: Host
    peer: object
    send: Send
    usable: bool

    @property
    def closed(self) -> bool: ...
    @property
    def can_end_write(self) -> bool: ...
    def gather(self, chunks: Sequence[Bytes]) -> int: ...
    def call_when_writable(self, callback: Callable[[], None] | None) -> None: ...
    def about_to_park(self, task: Task) -> None: ...
    def end_write(self) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...
    def extra(self, name: str, default: Any) -> Any: ...
    def why_unusable(self) -> OSError: ...
    def of_another_run(self) -> Exception: ...


class Writer:
    """Bytes to the peer, in order. `open_connection` and servers make it; it belongs to their run.

    ``write`` hands them to the kernel at once, and keeps what it does not take; that is flushed in
    the background whatever the caller does next. ``await drain()`` is the backpressure. Several
    tasks may write and drain; the bytes of one ``write`` stay together. A cancelled ``drain`` has
    not taken anything back. A flush that fails in the background is raised by the next ``write``,
    ``drain`` or ``wait_closed``.

    :ivar linger: seconds that ``close`` may go on flushing before it aborts (10).
    :ivar write_limit: bytes that may wait to be sent (64 MiB); both may be changed at any time.
    """

    __slots__ = (
        "_closing",
        "_drainers",
        "_eof",
        "_error",
        "_high",
        "_linger_timer",
        "_low",
        "_open",
        "_pending",
        "_send",
        "_source",
        "linger",
        "write_limit",
    )

    def __init__(self, source: ByteSink, *, write_limit: int = WRITE_LIMIT, linger: float = LINGER) -> None:
        self._source = source
        self._send = source.send
        self._pending = SendBuffer()
        self._drainers: deque[Task] = deque()
        self._error: OSError | None = None
        self._open = True
        self._closing = False
        self._eof = False
        self._linger_timer: Timer | None = None
        self._high = HIGH_WATER
        self._low = HIGH_WATER // 4
        self.write_limit = write_limit
        self.linger = linger

    def write(self, data: Bytes) -> None:
        """Takes all of the bytes or none, and never waits. The caller may reuse a mutable buffer.

        More bytes than ``write_limit`` in one call are refused whole, whatever the kernel would take.

        :raises TypeError: for what is no bytes.
        :raises StreamClosedError: after ``close``, ``abort`` or ``write_eof``.
        :raises WriteBufferFullError: if more than ``write_limit`` bytes would wait.
        :raises OSError: if the connection is broken (`ConnectionResetError`, `BrokenPipeError`).
        """
        if type(data) is not bytes:
            data = _flat(data)
        if not (self._open and self._source.usable):
            raise self._refusal()
        size = len(data)
        waiting = self._pending.size
        if waiting + size > self.write_limit:
            raise self._overflow(size)
        if waiting:
            self._pending.append(data)
            return
        send = self._send
        try:
            sent = send(data) if size else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._fail(error) from error
        if sent < size:
            self._pending.append(data[sent:])
            self._source.call_when_writable(self._flush)

    def writelines(self, data: Iterable[Bytes]) -> None:
        """Writes the joined pieces as one ``write``, with its errors."""
        self.write(b"".join(data))

    async def drain(self) -> None:
        """Waits while more bytes are waiting than the high-water mark, until the low-water mark.

        Any number of tasks may wait. A cancel leaves the bytes with the writer, which flushes them.

        :raises StreamClosedError: if the stream was aborted meanwhile, and what waited was dropped.
        :raises OSError: if the connection broke, also when a flush in the background found that out.
        """
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if self._error is not None:
            raise self._refusal()
        if self._pending.size > self._high:
            await self._wait_until(task, self._below_low)
            if self._error is not None:
                raise self._refusal()
        task.budget -= 1
        if task.budget <= 0:
            await task.give_way()

    def write_eof(self) -> None:
        """Ends this direction once everything is flushed; the peer reads ``b""``, and may go on writing.

        Returns at once. May be called again.

        :raises StreamClosedError: after ``close`` or ``abort``.
        :raises OSError: if the connection is broken.
        """
        if self._closing or self._error is not None or not self._source.usable:
            raise self._refusal()
        if not self._eof:
            self._eof = True
            self._open = False
            if not self._pending.size:
                self._shut_down()

    def can_write_eof(self) -> bool:
        """Whether the two directions can be ended apart; TCP and UNIX sockets can."""
        return self._source.can_end_write

    def close(self) -> None:
        """Flushes in the background for ``linger`` seconds at most, then closes; returns at once.

        Nothing can be written from now on, and nothing read but what is buffered. What is not flushed
        in time is dropped, and `wait_closed` raises `ConnectionAbortedError`. May be called again.
        """
        if self._closing:
            return
        self._closing = True
        self._open = False
        if not self._pending.size or self._error is not None or not self._source.usable:
            self._finish()  # after an error nobody would take the rest
            return
        host = self._source.host
        host.lingering.add(self)
        self._linger_timer = host.timers.add(host.now() + self.linger, self._linger_over)

    def abort(self) -> None:
        """Drops what is waiting and closes at once; a TCP peer sees a reset.

        A read or a ``drain`` that waits raises `StreamClosedError`.
        May be called at any time.
        """
        self._closing = True
        self._open = False
        if self._pending.size and self._error is None:
            lost = f"the stream to {self._peer} was aborted by this side, with {self._pending.size} bytes unsent"
            self._error = StreamClosedError(lost)
        self._pending.clear()
        self._source.reset()
        self._finish()

    def is_closing(self) -> bool:
        """Whether ``close`` or ``abort`` was called."""
        return self._closing

    async def wait_closed(self) -> None:
        """Waits until the stream is closed; calls nothing by itself.

        A cancel leaves the closing to the background.

        :raises OSError: if a flush failed and nobody was told yet.
        """
        task = await begin()
        if not self._source.closed:
            await self._wait_until(task, self._is_closed)
        if self._error is not None and self._pending.size:
            raise self._refusal()
        await spend(task)

    async def wait_flushed(self) -> None:
        """`wait_closed` for the end of a run: a failed flush is nobody's any more."""
        await self._wait_until(current_task(), self._is_closed)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The marks, in bytes, that `drain` goes by; ``low`` defaults to a quarter of ``high``.

        :raises ValueError: unless ``high >= low >= 0``.
        """
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def get_write_buffer_size(self) -> int:
        """How many bytes are waiting."""
        return self._pending.size

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"socket"``, ``"peername"`` or ``"sockname"``; ``default`` for anything else.

        The socket is for options; reading, writing or closing it confuses the stream.
        """
        return self._source.extra(name, default)

    async def __aenter__(self) -> Writer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes, and waits for that unless the block failed: then the error has the word."""
        self.close()
        if error is None:
            await self.wait_closed()

    @property
    def _peer(self) -> str:
        return show_address(self._source.peer)

    def _overflow(self, size: int) -> WriteBufferFullError:
        return WriteBufferFullError(
            f"{self._pending.size} bytes to {self._peer} are waiting, {size} more would exceed "
            f"write_limit={self.write_limit}: await drain() between writes"
        )

    def _fail(self, error: OSError) -> OSError:
        """Remembers what broke the connection; from now on everything is refused with it."""
        self._remember(error, "write to")
        return describe(error, "write to", self._source.peer)

    def _remember(self, error: OSError, operation: str) -> None:
        """A copy: what is raised has a traceback, which holds this writer."""
        self._open = False
        self._error = describe(type(error)(*error.args), operation, self._source.peer)

    def _flush(self) -> None:
        """Sends what is waiting until the kernel takes no more; called at each writability."""
        pending = self._pending
        try:
            while pending.size:
                chunks = pending.first()
                pending.sent(self._source.gather(chunks))
        except BlockingIOError:
            if pending.size <= self._low:
                self._wake_drainers()
            return
        except OSError as error:
            self._fail(error)
        self._flushed()

    def _flushed(self) -> None:
        self._source.call_when_writable(None)
        if self._closing:
            self._finish()
        elif self._eof and self._error is None:
            self._shut_down()
        self._wake_drainers()

    def _linger_over(self) -> None:
        reason = f"the peer did not take the last {self._pending.size} bytes within linger={self.linger} s"
        self._remember(ConnectionAbortedError(errno.ECONNABORTED, reason), "write to")
        self._source.reset()
        self._finish()

    def _shut_down(self) -> None:
        try:
            self._source.end_write()
        except OSError as error:
            self._remember(error, "end the stream to")

    def _finish(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        self._source.close()
        self._source.host.lingering.discard(self)
        self._wake_drainers()

    def forget_drainer(self, task: Task) -> bool:
        if task not in self._drainers:
            return False  # it is being woken
        self._drainers.remove(task)
        return True

    def doing(self, until_closed: bool) -> str:
        return f"{'closing the stream' if until_closed else 'draining'} to {self._peer}"

    def _wake_drainers(self) -> None:
        """Each looks for itself whether it has to wait on."""
        drainers, self._drainers = self._drainers, deque()
        for task in drainers:
            task.wake()

    async def _wait_until(self, task: Task, reached: Callable[[], bool]) -> None:
        abort = _Drain(self, task, reached == self._is_closed)
        if task.host is not self._source.host and not reached():
            raise self._source.of_another_run()
        while not reached():
            if task.scope.cancelled:  # since it was woken, maybe for another's sake: no second wake-up will come
                await task.checkpoint_if_cancelled()
            self._drainers.append(task)
            self._source.about_to_park(task)
            await task.park(abort)

    def _below_low(self) -> bool:
        return self._pending.size <= self._low or self._error is not None or not self._source.usable

    def _is_closed(self) -> bool:
        return self._source.closed

    def _refusal(self) -> OSError:
        if self._error is not None:
            self._pending.clear()  # what was lost has been told, and wait_closed() need not tell it again
            if isinstance(self._error, StreamClosedError):
                return StreamClosedError(*self._error.args)
            return _again(self._error)
        if not self._source.closed and not self._source.usable:
            return self._source.why_unusable()
        how = "was ended by write_eof()" if self._eof and not self._closing else "was closed by this side"
        return StreamClosedError(f"the stream to {self._peer} {how}")


class _Drain:
    """One task's wait for a writer. Calling it is the wait's ``abort``."""

    __slots__ = ("_task", "_until_closed", "_writer")

    def __init__(self, writer: Writer, task: Task, until_closed: bool) -> None:
        self._writer = writer
        self._task = task
        self._until_closed = until_closed

    def __call__(self) -> bool:
        return self._writer.forget_drainer(self._task)

    def doing(self, abort: object) -> str:
        return self._writer.doing(self._until_closed)


def _flat(data: Bytes) -> memoryview:
    try:
        return memoryview(data).cast("B")
    except TypeError as error:
        raise TypeError(f"{_WANTED.get(type(data).__name__, 'a stream carries bytes')}: {error}") from None


_WANTED = {
    "str": "a stream carries bytes, so encode() the text",
    "coroutine": "a coroutine was to be written, and not what awaiting it gives",
}


def _again(error: OSError) -> OSError:
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
