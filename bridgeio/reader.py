"""The receiving half of a stream, with asyncio's names.

Rule: who waits again looks again. A wake-up may bring too little, and a cancel that comes between it
and the task's next step wakes nobody: the task has to see it before it parks once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from bridgeio.buffers import ReceiveBuffer
from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Task, get_current
from bridgeio.ends import ByteSource
from bridgeio.errors import (
    BusyError,
    IncompleteReadError,
    LimitOverrunError,
    StreamClosedError,
    again,
    describe,
    show_address,
)
from bridgeio.limits import CHUNK_MAX, CHUNK_MIN, LIMIT, RECEIVE_MAX
from bridgeio.registry import current_task
from bridgeio.unpatched import get_ident

__all__ = ["Reader"]


class Reader:
    """Bytes from the peer, in order. `open_connection` and servers make it; it belongs to their run.

    One task may read at a time; a second one gets `BusyError`, and the first is not disturbed. Any
    task may write to the stream's `Writer` meanwhile. A cancelled read has taken nothing: what had
    come stays, and the next read gets it. Bytes are asked of the kernel only when somebody reads,
    so a peer that sends to a reader that does not read is stopped by TCP. What came beyond what a
    read gives is buffered here: it is the next read's, and no longer in the socket.

    Every read first raises if its task is cancelled. All reads raise the system's error
    (`ConnectionResetError` and others) if the connection broke, again and again, and
    `StreamClosedError` after this side closed it, once what was buffered by then is read.

    :ivar limit: bytes that `readuntil` and `readline` may buffer; may be changed between reads.
    """

    __slots__ = ("_buffer", "_chunk", "_ended", "_filled", "_limit", "_lines", "_reading", "_source")

    def __init__(self, source: ByteSource, limit: int = LIMIT) -> None:
        self._source = source
        self._buffer = ReceiveBuffer()
        self._chunk = CHUNK_MIN
        self._ended = False
        self._filled = 0  # reads in a row that waited, and were then filled
        self._limit = limit
        self._lines: BytesIO | None = None  # the next in the buffer, which `_settle` tells what of them was read
        self._reading = False  # a task is, or there are such lines: whoever wants the buffer has to `_settle`

    async def read(self, n: int = -1) -> bytes:  # noqa: C901 (the hot path: a call costs more)
        """Up to ``n`` bytes, as soon as there are any; ``b""`` at the end of the stream.

        With ``n=-1``, everything up to the end, without a bound: a peer decides how much that is.
        ``n=0`` gives ``b""`` at once.
        """
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if self._reading:
            self._settle()
        if n < 0:
            return await self._read_all(task)
        data: bytes | None = None
        if self._buffer.size:
            data = self._buffer.take(n)
        elif n == 0 or self._ended:
            data = b""
        else:
            most = n if n < self._chunk else self._chunk  # noqa: FURB136 (min() is a call)
            if self._filled > 1:  # messages are as long as what is asked for: one byte more, and the kernel
                most += 1  # says with the message that there is no other, without a call that fails
            source = self._source
            waited = False
            self._reading = True
            try:
                while not source.readable or (data := self._receive_now(most)) is None:
                    if waited and task.scope.cancelled:
                        await task.checkpoint_if_cancelled()
                    waited = True
                    await source.wait_readable(task)
            finally:
                self._reading = False
            if self._source.readable and len(data) == most:  # the first is cleared by a short receive
                self._filled = self._filled + 1 if waited else 0
                if most > n:
                    data = self._keep_rest(data, n)
        task.budget -= 1
        if task.budget <= 0:
            await task.give_way()
        return data

    async def readline(self) -> bytes:  # noqa: C901 (the hot path: a call costs more)
        r"""A line with its ``b"\n"``; without it at the end of the stream; ``b""`` after the end.

        :raises LimitOverrunError: if the line is longer than the limit; it stays in the stream.
        """
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        buffer = self._buffer
        line: bytes | None = None
        if buffer.size:  # one of many in a chunk: what `readuntil` does would double its cost
            line = (self._lines or self._take_lines()).readline()
        elif not self._ended:  # as a rule one whole line comes: a coroutine more would show
            if self._reading:
                self._settle()
            source = self._source
            waited = False
            self._reading = True
            try:
                while not source.readable or (line := self._receive_now(self._chunk)) is None:
                    if waited and task.scope.cancelled:
                        await task.checkpoint_if_cancelled()
                    waited = True
                    await source.wait_readable(task)
            finally:
                self._reading = False
            if line and not -1 < line.find(b"\n") == len(line) - 1 <= self._limit:
                buffer.append(line)
                line = self._take_lines().readline()
        if line:
            task.budget -= 1
            if task.budget <= 0:
                await task.give_way()
            return line
        try:
            return await self.readuntil(b"\n")
        except IncompleteReadError as error:
            return error.partial

    async def readuntil(self, separator: bytes = b"\n") -> bytes:  # noqa: C901 (the hot path: a call costs more)
        """Everything up to and with the separator.

        :raises IncompleteReadError: if the stream ends first, with what had come as ``.partial``.
        :raises LimitOverrunError: if it does not come within ``limit`` bytes; they stay in the
            stream, and `discard_until` skips them.
        :raises TypeError: if the separator is no bytes.
        :raises ValueError: if it is empty.
        """
        if type(separator) is not bytes or not separator:
            _check_separator(separator)
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if self._reading:
            self._settle()
        buffer = self._buffer
        source = self._source
        data: bytes | None = None
        waited = False
        while not buffer.size or (data := buffer.take_until(separator, self._limit)) is None:
            if buffer.size:
                self._check_limit(separator)
            self._reading = True
            try:
                while not source.readable or (data := self._receive_now(self._chunk)) is None:
                    if waited and task.scope.cancelled:
                        await task.checkpoint_if_cancelled()
                    waited = True
                    await source.wait_readable(task)
            finally:
                self._reading = False
            if not data:
                raise IncompleteReadError(buffer.take(buffer.size), None)
            if not buffer.size and -1 < data.find(separator) == len(data) - len(separator) <= self._limit:
                break  # the usual case: one whole message, and no copy
            buffer.append(data)
        task.budget -= 1
        if task.budget <= 0:
            await task.give_way()
        return data

    async def readexactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes, also more than ``limit``.

        :raises IncompleteReadError: if the stream ends first, with what had come as ``.partial``.
        :raises ValueError: if ``n`` is negative.
        """
        if n < 0:
            raise ValueError("readexactly() cannot read a negative number of bytes")
        task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if self._reading:
            self._settle()
        buffer = self._buffer
        data = b""
        while buffer.size < n:
            data = await self._receive(task, min(n - buffer.size, RECEIVE_MAX))
            if len(data) == n:
                break
            if not data:
                raise IncompleteReadError(buffer.take(buffer.size), n)
            buffer.append(data)
        else:
            data = buffer.take(n)
        task.budget -= 1
        if task.budget <= 0:
            await task.give_way()
        return data

    async def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fills the start of ``buffer`` with what there is, as soon as there is any.

        A cancelled call has changed nothing in it.

        :param buffer: writable and contiguous.
        :returns: how many bytes; 0 at the end of the stream.
        """
        task = await begin()
        if self._reading:
            self._settle()
        with memoryview(buffer) as whole, whole.cast("B") as target:
            if not self._buffer.size and len(target):
                self._buffer.append(await self._receive(task, min(len(target), RECEIVE_MAX)))
            filled = self._buffer.take_into(target)
        await spend(task)
        return filled

    async def discard_until(self, separator: bytes = b"\n") -> int:
        """Skips everything up to and with the separator, however long; how many bytes that were.

        A cancelled call has skipped a part of that, and nothing behind the separator: call it again.

        :raises IncompleteReadError: if the stream ends first; all is skipped, ``.partial`` is empty.
        :raises TypeError: if the separator is no bytes.
        :raises ValueError: if it is empty.
        """
        _check_separator(separator)
        task = await begin()
        if self._reading:
            self._settle()
        buffer = self._buffer
        skipped = 0
        while (found := buffer.find(separator)) < 0:
            surely_none = max(0, buffer.size - len(separator) + 1)
            buffer.discard(surely_none)
            skipped += surely_none
            data = await self._receive(task, self._chunk)
            if not data:
                buffer.discard(buffer.size)
                raise IncompleteReadError(b"", None)
            buffer.append(data)
        buffer.discard(found + len(separator))
        await spend(task)
        return skipped + found + len(separator)

    @contextmanager
    def handing_over(self) -> Iterator[None]:
        """While the stream's layers change, this reader takes nothing from them; for `Writer.start_tls`.

        :raises BusyError: if a task is reading.
        """
        if self._reading:
            self._settle()
        self._reading = True
        try:
            yield
        finally:
            self._reading = False

    def take_buffered(self) -> bytes:
        """What has come and was not asked for."""
        return self._buffer.take(self._buffer.size)

    @property
    def unread(self) -> ReceiveBuffer:
        """What has come, and maybe some lines that were asked for since."""
        return self._buffer

    def has_unread(self) -> bool:
        """Whether more has come than was asked for."""
        lines = self._lines
        return self._buffer.size > (0 if lines is None else lines.tell())

    @property
    def source(self) -> ByteSource:
        return self._source

    @source.setter
    def source(self, layer: ByteSource) -> None:
        self._source = layer

    @property
    def limit(self) -> int:
        return self._limit

    @limit.setter
    def limit(self, most: int) -> None:
        self._limit = most
        if self._lines is not None:  # which were within the one before
            self._settle()

    def at_eof(self) -> bool:
        """Whether the peer has ended the stream and everything has been read. Known only after a read."""
        if self._lines is not None:
            self._settle()
        return self._ended and not self._buffer.size

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def _read_all(self, task: Task) -> bytes:
        parts = [self._buffer.take(self._buffer.size)]
        try:
            while data := await self._receive(task, self._chunk):
                parts.append(data)
        except BaseException:
            for part in parts:
                self._buffer.append(part)
            raise
        return b"".join(parts)

    async def _receive(self, task: Task, most: int) -> bytes:
        """What the source has next; ``b""`` at the end.

        It gives way inside: what this read holds by then comes before all that another could get.
        """
        self._reading = True
        try:
            while not self._source.readable or (data := self._receive_now(most)) is None:
                if task.scope.cancelled:
                    await task.checkpoint_if_cancelled()
                await self._source.wait_readable(task)
            await spend(task)
        finally:
            self._reading = False
        return data

    def _receive_now(self, most: int) -> bytes | None:
        """What has come, ``b""`` at the end, or ``None`` if there is nothing now."""
        source = self._source
        recv = source.recv
        try:
            data = recv(most)
        except BlockingIOError:
            source.nothing_now()
            return None
        except StreamClosedError:
            raise
        except OSError as error:
            raise self._failed(error) from error
        if len(data) < most:
            if data:
                source.readable = source.exhaust
            else:
                self._ended = True
        elif most == self._chunk < CHUNK_MAX:
            self._chunk *= 2  # who fills each chunk gets a larger one
        return data

    def _keep_rest(self, data: bytes, n: int) -> bytes:
        """The byte more has come."""
        self._filled = 0
        self._buffer.append(data[n:])
        return data[:n]

    def _failed(self, error: OSError) -> OSError:
        """What broke the stream is raised by this read and by every later one."""
        source = self._source
        kept = again(error)  # not the error itself, whose traceback holds this reader

        def raise_again(most: int) -> bytes:
            raise again(kept)

        source.recv = raise_again
        return describe(error, "read from", source.peer)

    def _check_limit(self, separator: bytes) -> None:
        """What is buffered is no whole message: is there room for more?"""
        buffer = self._buffer
        consumed, how = buffer.find(separator), "the separator came later than that"
        if consumed < 0:
            consumed, how = buffer.size - len(separator) + 1, "no separator came"
        if consumed > self._limit:
            raise LimitOverrunError(
                f"{how} within the limit of {self._limit} bytes; discard_until() skips what is there", consumed
            )

    def _take_lines(self) -> BytesIO:
        """The next whole lines that are there, to be read from what this returns. None, if that takes a search."""
        if self._reading:
            self._settle()
        lines = self._buffer.whole_lines(self._limit)
        if lines is None:
            return BytesIO()
        self._lines = lines
        self._reading = True
        return lines

    def _settle(self) -> None:
        """Lets the buffer know which of its lines were read.

        :raises BusyError: if it is a task that is reading.
        """
        lines = self._lines
        if lines is None:
            raise BusyError(f"another task is already reading from {show_address(self._source.peer)}")
        self._buffer.discard(lines.tell())
        self._lines = None
        self._reading = False


def _check_separator(separator: object) -> None:
    """Before anything is waited for: a str would be looked for when the first byte has come, if one ever does."""
    if not isinstance(separator, bytes | bytearray | memoryview):
        raise TypeError(f"a separator is bytes, not {type(separator).__name__}")
    if not separator:
        raise ValueError("an empty separator would be found everywhere")
