"""The writer where plain code may hold one: in a thread that calls bridgeio through `blocking`.

``write`` and ``close`` are synchronous, so such code calls them as they are, between two calls of
`blocking`. A thread that flushes may be at work on the same bytes then.
"""

from __future__ import annotations

from bridgeio.buffers import Bytes
from bridgeio.contract import CURRENT
from bridgeio.unpatched import get_ident
from bridgeio.writer import Writer

__all__ = ["GuardedWriter"]


class GuardedWriter(Writer):
    """A `Writer` whose synchronous methods may be called by any thread, inside a task or outside."""

    __slots__ = ()

    def write(self, data: Bytes) -> None:
        task = CURRENT.get()
        if task is not None and task.thread == get_ident():  # the path of a byte: inside a task nothing is to be done
            Writer.write(self, data)
        else:
            self._source.host.call_guarded(Writer.write, self, data)

    def write_eof(self) -> None:
        self._source.host.call_guarded(Writer.write_eof, self)

    def close(self) -> None:
        self._source.host.call_guarded(Writer.close, self)

    def abort(self) -> None:
        self._source.host.call_guarded(Writer.abort, self)
