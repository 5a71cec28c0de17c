"""Any object with ``receive``, ``send`` and ``aclose``, as AnyIO's byte streams have, behind a `Feed`.

Rule 1: something is received when a task waits for bytes, by a task of ours: if the waiting one is cancelled, the
receive goes on, and what it brings stays for the next reader. So nothing is lost, whatever the object does when it
is cancelled. That task ends when nobody wants more, so an object that nobody reads, or closes, keeps none.
Rule 2: one task of ours sends, in order. Nothing but an abort cancels it.
Rule 3: errors are known by AnyIO's and Trio's names, because nobody's package is imported here.
"""

from __future__ import annotations

import errno
import os
import sys
from collections import deque
from collections.abc import Coroutine
from typing import Any

from bridgeio.contract import Feed, Host, Scope, cancel
from bridgeio.errors import StreamClosedError, show_address
from bridgeio.limits import CHUNK_MAX
from bridgeio.registry import current_task
from bridgeio.scopes import CancelScope

__all__ = ["PulledStream", "can_be_pulled"]

# What asyncio calls it, and where AnyIO has it: the class among its typed attributes, and the name there.
_ATTRIBUTES = {
    "socket": ("anyio.abc", "SocketAttribute", "raw_socket"),
    "peername": ("anyio.abc", "SocketAttribute", "remote_address"),
    "sockname": ("anyio.abc", "SocketAttribute", "local_address"),
    "ssl_object": ("anyio.streams.tls", "TLSAttribute", "ssl_object"),
    "peercert": ("anyio.streams.tls", "TLSAttribute", "peer_certificate"),
    "cipher": ("anyio.streams.tls", "TLSAttribute", "cipher"),
}


def can_be_pulled(native: object) -> bool:
    return all(callable(getattr(native, name, None)) for name in ("receive", "send", "aclose"))


class PulledStream:
    """A `bridgeio.contract.NativeStream` made of async methods."""

    def __init__(self, host: Host, native: Any) -> None:
        self._host = host
        self._native = native
        self._feed: Feed
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._full = False
        self._ending = False
        self._closing = False
        self._aborted = False
        self._wanted = False
        self._receiving: Scope | None = None
        self._sending: Scope | None = None
        self._closer: CancelScope | None = None
        self.peer = self.extra("peername", None) or type(native).__qualname__

    @property
    def can_end_write(self) -> bool:
        return callable(getattr(self._native, "send_eof", None))

    def start(self, feed: Feed) -> None:
        self._feed = feed

    def write(self, data: bytes) -> bool:
        self._queue.append(data)
        self._size += len(data)
        self._full = self._size >= CHUNK_MAX
        self._send_soon()
        return not self._full

    def pause(self) -> None:
        """What is received meanwhile was asked for."""

    def resume(self) -> None:
        self._wanted = True
        if self._receiving is None and not self._closing:
            self._receiving = self._spawn(self._receive(), "receives from")

    def end_write(self) -> None:
        self._ending = True
        self._send_soon()

    def close(self) -> None:
        self._closing = True
        if self._receiving is not None:
            cancel(self._receiving)
        if self._sending is None and self._closer is None:
            self._close_soon()

    def abort(self) -> None:
        self._aborted = self._closing = True
        self._queue.clear()
        if self._receiving is not None:
            cancel(self._receiving)
        if self._closer is not None:
            self._closer.cancel()
        elif self._sending is not None:
            cancel(self._sending)
        else:
            self._close_soon()

    def extra(self, name: str, default: Any) -> Any:
        told = getattr(self._native, "get_extra_info", None)
        if told is not None:
            return told(name, default)
        module, attributes, attribute = _ATTRIBUTES.get(name, ("", "", ""))
        key = getattr(getattr(sys.modules.get(module), attributes, None), attribute, None)
        extra = getattr(self._native, "extra", None)
        return default if key is None or extra is None else extra(key, default)

    def _spawn(self, coro: Coroutine[Any, Any, object], does: str) -> Scope:
        scope = Scope()
        self._host.spawn(coro, f"{does} {show_address(self.peer)}", scope)
        return scope

    async def _receive(self) -> None:
        """As long as somebody wants more by the time that this has its next turn: a task for each would cost twice
        as much."""
        task = current_task()
        while self._wanted and not self._closing:
            self._wanted = False
            await self._receive_once()
            await task.give_way()
        self._receiving = None

    async def _receive_once(self) -> None:
        try:
            data = _as_bytes(await self._native.receive())
        except Exception as error:
            self._feed.ended(_as_oserror(error, "receive"))
        else:
            if data:
                self._feed.received(data)
            else:
                self._feed.ended()

    def _send_soon(self) -> None:
        if self._sending is None and not self._closing:
            self._sending = self._spawn(self._send(), "sends to")

    async def _send(self) -> None:
        error: OSError | None = None
        try:
            await self._send_all()
        except Exception as raised:
            error = _as_oserror(raised, "send") or BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        except GeneratorExit:
            raise
        except BaseException:  # it was cancelled: by an abort, or because the framework's loop is ending
            self._aborted = True
            self._sending = None
            await self._close(None)
            raise
        self._sending = None
        if error is not None or self._closing:
            await self._close(error)

    async def _send_all(self) -> None:
        while True:
            while self._queue:
                await self._native.send(self._queue[0])
                if self._queue:  # else it was aborted meanwhile
                    self._size -= len(self._queue.popleft())
            if self._full:
                self._full = False
                self._feed.has_room()
            if not self._queue:
                break
        if self._ending:
            self._ending = False
            await self._native.send_eof()

    def _close_soon(self) -> None:
        self._sending = self._spawn(self._close(None), "closes")

    async def _close(self, error: OSError | None) -> None:
        """After an abort in a scope that is cancelled: AnyIO's and Trio's streams then close without ceremony."""
        self._closing = True
        try:
            with CancelScope() as scope:
                self._closer = scope
                if self._aborted:
                    scope.cancel()
                await self._native.aclose()
        except Exception as raised:
            error = error or _as_oserror(raised, "aclose")
        finally:
            self._feed.lost(error)


def _as_bytes(received: Any) -> bytes:
    """:raises TypeError: for an object that carries something else; a number would be so many null bytes."""
    if isinstance(received, bytes):
        return received
    try:
        return bytes(memoryview(received))
    except TypeError:
        raise TypeError(f"a byte stream gives bytes, and not {received!r:.100}") from None


def _as_oserror(error: Exception, operation: str) -> OSError | None:
    """What a socket would have raised; ``None`` for the end of the stream."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "EndOfStream" in names:
        return None
    if isinstance(error, OSError):
        return error
    made: OSError
    if isinstance(error.__cause__, OSError):
        made = type(error.__cause__)(*error.__cause__.args)
    elif "ClosedResourceError" in names:
        made = StreamClosedError("the stream that was wrapped is closed")
    elif "BrokenResourceError" in names:
        made = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    else:
        made = ConnectionAbortedError(errno.ECONNABORTED, f"{operation}() of what was wrapped failed: {error!r}")
    made.__cause__ = error
    return made
