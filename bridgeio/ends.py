"""What is under a stream: where a `Reader` gets its bytes, and where a `Writer` puts them.

A socket of ours is both; so is a stream of somebody else's that was wrapped. A pipe is one of them, and TLS
stands between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from bridgeio.buffers import Bytes, Receive, Send
from bridgeio.contract import Host, Task

__all__ = ["ByteEnds", "ByteSink", "ByteSource"]


class ByteSource(Protocol):
    """Where a `Reader` gets its bytes: a non-blocking socket, or something that behaves like one.

    :ivar recv: up to so many bytes, ``b""`` at the end again and again; raises `BlockingIOError` if
        there is nothing now, and any other `OSError` if there never will be.
    :ivar readable: whether ``recv`` may be tried; whoever gets `BlockingIOError` clears it.
    :ivar exhaust: whether a short ``recv`` means nothing, so that it is to be tried until it raises.
    """

    recv: Receive
    peer: object

    @property
    def readable(self) -> bool: ...
    @readable.setter
    def readable(self, may_be: bool) -> None: ...

    @property
    def exhaust(self) -> bool: ...
    def wait_readable(self, task: Task) -> Awaitable[Any]: ...
    def nothing_now(self) -> None: ...


class ByteSink(Protocol):
    """Where a `Writer` puts its bytes: a non-blocking socket, or something that behaves like one.

    :ivar send: takes some of the bytes, and says how many; raises `BlockingIOError` if it takes none now,
        and any other `OSError` if it never will.
    :ivar usable: whether it may be tried at all; see ``why_unusable``.
    :ivar joins_answers: whether `bridgeio.corks` may have them wait for each other; else it sends as its owner likes.
    :ivar gather: ``send`` for several pieces. Taking only a part of them says that there is no room now, too: what
        ``call_when_writable`` was given is called when there is.
    :ivar broke: a ``send`` has raised this, for those who are to hear of it, too.
    :ivar closed: whether ``close`` was called, and has happened. If it takes its time, what
        ``call_when_writable`` was given is called after it, too.
    """

    host: Host
    peer: object
    send: Send
    usable: bool

    @property
    def joins_answers(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    @property
    def can_end_write(self) -> bool: ...
    def gather(self, chunks: Sequence[Bytes]) -> int: ...
    def call_when_writable(self, callback: Callable[[], None] | None) -> None: ...
    def end_write(self) -> None: ...
    def broke(self, error: OSError) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...
    def extra(self, name: str, default: Any) -> Any: ...
    def why_unusable(self) -> OSError: ...
    def of_another_run(self) -> Exception: ...


class ByteEnds(ByteSource, ByteSink, Protocol):
    """Both in one."""
