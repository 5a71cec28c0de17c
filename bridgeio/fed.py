"""A stream that somebody else's transport feeds, behind the face of a non-blocking socket of ours.

Rule 1: at most `CHUNK_MAX` bytes are taken ahead of the reader, and what the transport still brings after it was
told to pause. It is told to go on only when a task waits for bytes and none are left.
Rule 2: it is given bytes only while it has room, so that what waits does so in the `Writer`, under its bounds.
Rule 3: the stream is closed when the transport says that it is gone, and not before: closing a writer, and the
end of a run, wait for what the transport still holds.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from bridgeio.buffers import Bytes, Receive, Send
from bridgeio.contract import Host, NativeStream, Task
from bridgeio.descriptors import other_run, unusable
from bridgeio.errors import SharedBetweenRunsError, StreamClosedError, again, show_address
from bridgeio.limits import CHUNK_MAX

__all__ = ["FedSource"]


class FedSource:
    """What a `bridgeio.contract.NativeStream` feeds; to it this is the `bridgeio.contract.Feed`.

    :param given: what the user had, and gets back by ``get_extra_info("native")``.
    """

    joins_answers = False
    recv: Receive
    send: Send

    def __init__(self, host: Host, native: NativeStream, given: object) -> None:
        self.recv = self._receive
        self.send = self._send
        self.host = host
        self.native = native
        self.peer = native.peer
        self.readable = False
        self.usable = True
        self.reader: Task | None = None
        self.on_writable: Callable[[], None] | None = None
        self._given = given
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._flowing = True
        self._full = False
        self._over = False  # nothing more will come
        self._closing = False
        self._aborted = False
        self._gone = False
        self._error: OSError | None = None
        host.fed.add(self)
        try:
            native.start(self)
        except BaseException:
            host.fed.discard(self)
            raise

    # As a feed

    def received(self, data: bytes) -> None:
        if self._over or self._closing or not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        if self._size >= CHUNK_MAX and self._flowing:
            self._flowing = False
            self.native.pause()
        self._wake_reader()

    def ended(self, error: OSError | None = None) -> None:
        if not self._over:
            self._over = True
            self._error = error
            self._wake_reader()

    def has_room(self) -> None:
        self._full = False
        if self.on_writable is not None:
            self.on_writable()

    def lost(self, error: OSError | None = None) -> None:
        if self._gone:
            return
        self._gone = True
        self.host.fed.discard(self)
        self._error = self._error or error
        self.ended(error)
        self._wake_reader()
        if self.on_writable is not None:
            self.on_writable()  # which finds out, and tells whoever drains

    # As a source

    def _receive(self, most: int, /) -> bytes:
        if self._chunks:
            return self._take(most)
        if self._error is not None:
            raise again(self._error)
        if self._over:
            return b""
        raise BlockingIOError

    @property
    def exhaust(self) -> bool:
        """Whether ``recv`` has more to say, however little it gave."""
        return bool(self._chunks) or self._over or self._closing

    def nothing_now(self) -> None:
        self.readable = False

    def wait_readable(self, task: Task) -> Any:
        if task.host is not self.host:
            raise self.of_another_run()
        if not self._over:
            self._flowing = True
            self.native.resume()
        if self.readable:  # it had something at once
            return _NO_WAIT
        self.reader = task
        return task.park(self._forget_reader)

    # As a sink

    def _send(self, data: Bytes, /) -> int:
        if self._gone:
            raise self._why_not_sent()
        if self._full:
            raise BlockingIOError
        sent = 0
        while sent < len(data) and not self._full:
            piece = bytes(data[sent : sent + CHUNK_MAX])
            sent += len(piece)
            self._full = not self.native.write(piece)
        return sent

    def gather(self, chunks: Sequence[Bytes]) -> int:
        sent = 0
        for chunk in chunks:
            if sent and self._full:
                break
            sent += self.send(chunk)
        return sent

    def call_when_writable(self, callback: Callable[[], None] | None) -> None:
        self.on_writable = callback

    @property
    def can_end_write(self) -> bool:
        return self.native.can_end_write

    def end_write(self) -> None:
        if not self._gone:
            self.native.end_write()

    def broke(self, error: OSError) -> None:
        """Whoever feeds it tells the reader."""

    def reset(self) -> None:
        if not (self._gone or self._aborted):
            self._aborted = True
            self.native.abort()

    def close(self) -> None:
        """Begins to; see rule 3."""
        if self._closing:
            return
        self._closing = True
        self.usable = False
        self._chunks.clear()
        self.recv = self.send = partial(_refuse, self.peer)  # ends two cycles, too
        self._wake_reader()
        if not (self._gone or self._aborted):
            self.native.close()

    @property
    def closed(self) -> bool:
        return self._closing and self._gone

    def extra(self, name: str, default: Any) -> Any:
        if name == "native":
            return self._given
        return self.native.extra(name, default)

    def why_unusable(self) -> StreamClosedError:
        return unusable(self.peer, self._closing)

    def of_another_run(self) -> SharedBetweenRunsError:
        return other_run(self.peer)

    # For others

    def end(self) -> None:
        """The run is over, and nobody has closed this."""
        self.reset()
        self.close()

    def doing(self, abort: object) -> str:
        return f"reading from {show_address(self.peer)}"

    def _take(self, most: int) -> bytes:
        data = self._chunks.popleft()
        if len(data) > most:
            self._chunks.appendleft(data[most:])
            data = data[:most]
        self._size -= len(data)
        return data

    def _wake_reader(self) -> None:
        self.readable = True
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.wake()

    def _forget_reader(self) -> bool:
        self.reader = None
        return True

    def _why_not_sent(self) -> OSError:
        if self._error is not None:
            return again(self._error)
        return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class _NoWait:
    """An awaitable that ends at once."""

    def __await__(self) -> Generator[Any, Any, None]:
        return
        yield


_NO_WAIT = _NoWait()


def _refuse(peer: object, data: object, /) -> Any:
    raise unusable(peer, closed=True)
