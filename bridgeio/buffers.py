"""Bytes on their way in and out, moved a bounded number of times.

Rule 1: what is taken from the front leaves a gap; the rest moves up only when the gap has grown to
the size of the rest, so moving costs at most as much as was taken.
Rule 2: a search that failed is not repeated over the same bytes.
Rule 3: many bytes are offered to the kernel in pieces. While it copies, the socket is locked, and what the peer
acknowledges waits: one large send ends when the congestion window is full, which is small between processes of one
machine if the kernel has BBR, and the rest needs another event. Between two sends the kernel looks. Each piece is
twice as large as the one before: however fast the peer reads, one ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import islice
from typing import Protocol

from bridgeio.limits import LINES_AT_ONCE, SEND_FIRST

__all__ = ["Bytes", "Receive", "ReceiveBuffer", "SealedBuffer", "Send", "SendBuffer", "flat", "send_in_pieces"]

Bytes = bytes | bytearray | memoryview


class Receive(Protocol):
    """`socket.recv`, or what behaves like it. (A plain ``Callable`` in a slot is a method to pyright.)"""

    def __call__(self, most: int, /) -> bytes: ...


class Send(Protocol):
    """`socket.send`, or what behaves like it."""

    def __call__(self, data: Bytes, /) -> int: ...


class ReceiveBuffer:
    """Bytes that have come and are not yet asked for.

    A chunk stays as it came, and is taken apart by slices, which is what Python does best. A short rest of the
    one before is put before it; only what trickles in behind a longer one is collected.

    :cvar storage: what collects; a test puts a type here that counts what is copied.
    :ivar size: how many there are.
    """

    storage: type[bytearray] = bytearray

    __slots__ = ("_bytes", "_searched", "_separator", "_start", "size")

    def __init__(self) -> None:
        self._bytes: bytes | bytearray = b""
        self._start = 0
        self._searched = 0
        self._separator = b""
        self.size = 0

    def append(self, data: Bytes) -> None:
        size = len(data)
        if type(data) is bytes and self.size <= size:
            self._bytes = bytes(self._bytes[self._start :]) + data if self.size else data
            self._start = 0
        else:
            if type(self._bytes) is bytes:
                self._bytes = self.storage(self._bytes[self._start :])
                self._start = 0
            self._bytes += data
        self.size += size

    def take(self, count: int) -> bytes:
        """The first ``count`` bytes, or all there are."""
        start = self._start
        held = self._bytes
        if type(held) is bytes:
            data = held[start : start + count]
        else:
            with memoryview(held) as view:
                data = bytes(view[start : start + count])
        self._drop(len(data))
        return data

    def take_until(self, separator: bytes, limit: int) -> bytes | None:
        """Everything up to and with the separator; ``None`` unless that begins within the first ``limit`` bytes.

        `find` and `take` in one, written out for the usual case: a line out of many in one chunk.
        """
        held = self._bytes
        if type(held) is not bytes or separator != self._separator or self._searched:
            found = self.find(separator)
            return self.take(found + len(separator)) if 0 <= found <= limit else None
        start = self._start
        end = held.find(separator, start)
        if not 0 <= end - start <= limit:
            return None
        end += len(separator)
        self._start = end
        self.size -= end - start
        if not self.size:
            self._close_gap()
        return held[start:end]

    def whole_lines(self, limit: int) -> BytesIO | None:
        """A copy of the next whole lines within the first ``limit`` bytes, if any; `discard` what is read of it.

        Not of all: who reads a line, and then something else, again and again, copies little.
        """
        held = self._bytes
        if type(held) is not bytes or self._searched:
            return None
        start = self._start
        end = held.rfind(b"\n", start, start + min(limit, LINES_AT_ONCE)) + 1
        return BytesIO(held[start:end]) if end else None

    def take_into(self, target: memoryview) -> int:
        """Fills the start of ``target``; how many bytes that were."""
        start = self._start
        count = min(len(target), self.size)
        with memoryview(self._bytes) as view:
            target[:count] = view[start : start + count]
        self._drop(count)
        return count

    def discard(self, count: int) -> None:
        self._drop(min(count, self.size))

    def find(self, separator: bytes) -> int:
        """Where the separator begins, counted from the first byte, or -1."""
        if separator != self._separator:
            self._separator = separator
            self._searched = 0
        found = self._bytes.find(separator, self._start + self._searched)
        if found >= 0:
            return found - self._start
        self._searched = max(0, self.size - len(separator) + 1)
        return -1

    def _drop(self, count: int) -> None:
        self.size -= count
        self._start += count
        if self._searched:
            self._searched = max(0, self._searched - count)
        if self._start >= self.size:
            self._close_gap()

    def _close_gap(self) -> None:
        if not self.size:
            self._bytes = b""
            self._start = 0
        elif isinstance(self._bytes, bytearray):
            del self._bytes[: self._start]
            self._start = 0


_NO_CHUNKS: deque[bytes] = deque()  # of every buffer that holds nothing: one of its own would take 600 bytes


class SendBuffer:
    """Bytes that the kernel has not taken yet."""

    __slots__ = ("_chunks", "_sent", "size")

    def __init__(self) -> None:
        self._chunks = _NO_CHUNKS
        self._sent = 0
        self.size = 0

    def append(self, data: Bytes, sent: int = 0) -> None:
        """Keeps what is left when so much was sent; a copy, if it is something that the caller may change."""
        if type(data) is bytes:
            self.keep(data, sent)
        else:
            self.keep(bytes(data[sent:]))

    def keep(self, chunk: bytes, sent: int = 0) -> None:
        """:param sent: that much of it is sent; only while there is nothing else."""
        if sent:
            self._sent = sent
        if self._chunks is _NO_CHUNKS:
            self._chunks = deque()
        self._chunks.append(chunk)
        self.size += len(chunk) - sent

    def move_to(self, other: SendBuffer) -> None:
        """All that is left goes to the end of another's."""
        sent = self._sent
        for chunk in self._chunks:
            other.keep(chunk[sent:])
            sent = 0
        self.clear()

    def first(self, most: int = SEND_FIRST) -> list[memoryview]:
        """The next bytes, for one gathered send, which takes a bounded number of chunks."""
        views = []
        start = self._sent
        for chunk in islice(self._chunks, 64):
            view = memoryview(chunk)[start : start + most]
            views.append(view)
            most -= len(view)
            if not most:
                break
            start = 0
        return views

    def sent(self, count: int) -> None:
        self.size -= count
        count += self._sent
        chunks = self._chunks
        while chunks and count >= len(chunks[0]):
            count -= len(chunks.popleft())
        self._sent = count
        if not chunks:
            self._chunks = _NO_CHUNKS

    def send_by(self, gather: Callable[[Sequence[Bytes]], int]) -> bool:
        """Whether all is sent; else the kernel takes no more now. Taking only a part says that, too: see epoll(7)."""
        most = SEND_FIRST
        try:
            while self.size:
                chunks = self.first(most)
                sent = gather(chunks)
                self.sent(sent)
                if sent < sum(map(len, chunks)):
                    return False
                most *= 2
        except BlockingIOError:
            return False
        return True

    def clear(self) -> None:
        self._chunks = _NO_CHUNKS
        self._sent = 0
        self.size = 0


class SealedBuffer(SendBuffer):
    """One whose bytes are encrypted as they come in. What another has left goes out first, as it is."""

    __slots__ = ("_seal",)

    def __init__(self, seal: Callable[[Bytes], bytes], before: SendBuffer) -> None:
        super().__init__()
        self._seal = seal
        before.move_to(self)

    def append(self, data: Bytes, sent: int = 0) -> None:
        self.keep(self._seal(data[sent:]))


def send_in_pieces(send: Send, data: Bytes) -> int:
    """As many of many bytes as ``send`` takes now; see rule 3."""
    view = memoryview(data)
    size, sent, most = len(view), 0, SEND_FIRST
    try:
        while sent < size:
            piece = view[sent : sent + most]
            taken = send(piece)
            sent += taken
            if taken < len(piece):
                break
            most *= 2
    except BlockingIOError:
        pass
    return sent


def flat(data: Bytes) -> memoryview:
    """Whatever is made of bytes, as bytes in a row.

    :raises TypeError: for anything else.
    """
    try:
        return memoryview(data).cast("B")
    except TypeError as error:
        raise TypeError(f"{_WANTED.get(type(data).__name__, 'a stream carries bytes')}: {error}") from None


_WANTED = {
    "str": "a stream carries bytes, so encode() the text",
    "coroutine": "a coroutine was to be written, and not what awaiting it gives",
}
