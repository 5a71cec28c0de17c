"""What ends because a server closes: blocks of its handlers, each so many seconds after that began."""

from __future__ import annotations

from math import inf
from types import TracebackType

from bridgeio.scopes import CancelScope

__all__ = ["Closing"]


class Closing:
    """When a server began to close, and which blocks go by that."""

    __slots__ = ("_began", "_scopes")

    def __init__(self) -> None:
        self._began = inf
        self._scopes: set[_ClosingScope] = set()

    def begin(self, now: float) -> None:
        """Called again, it changes nothing: the first time counts."""
        self._began = min(self._began, now)
        for scope in tuple(self._scopes):
            scope.deadline = self._began + scope.delay

    def scope(self, delay: float) -> CancelScope:
        """For `Server.move_on_when_closing`."""
        return _ClosingScope(self, delay)

    def join(self, scope: _ClosingScope) -> None:
        """A block is entered."""
        scope.deadline = self._began + scope.delay
        self._scopes.add(scope)

    def leave(self, scope: _ClosingScope) -> None:
        self._scopes.discard(scope)


class _ClosingScope(CancelScope):
    """A scope whose deadline is set when the server begins to close."""

    __slots__ = ("_closing", "delay")

    def __init__(self, closing: Closing, delay: float) -> None:
        super().__init__()
        self._closing = closing
        self.delay = delay

    def __enter__(self) -> CancelScope:
        self._closing.join(self)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._closing.leave(self)
        return super().__exit__(kind, error, trace)
