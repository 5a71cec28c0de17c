"""One user at a time, where a second one is a mistake and not somebody to wait."""

from __future__ import annotations

from types import TracebackType

from bridgeio.errors import BusyError

__all__ = ["ResourceGuard"]


class ResourceGuard:
    """A ``with`` block that only one task at a time can be in; the next gets `BusyError`.

    May be made, and used, outside any run.

    :param action: what is done there, for the error: "another task is already *using* this resource".
    :ivar action: the same.
    """

    __slots__ = ("__weakref__", "_in_use", "action")

    def __init__(self, action: str = "using") -> None:
        self.action = action
        self._in_use = False

    def __enter__(self) -> None:
        """:raises BusyError: if somebody is in the block."""
        if self._in_use:
            raise BusyError(f"another task is already {self.action} this resource")
        self._in_use = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_use = False
