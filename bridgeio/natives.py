"""The shapes of what a framework may bring of its own, for the core to build on: scopes, groups and streams."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Feed", "NativeGroup", "NativeScope", "NativeStream"]


class NativeScope(Protocol):
    """What `Host.open_scope` returns: a scope of the framework's own behind these names."""

    @property
    def deadline(self) -> float: ...
    @deadline.setter
    def deadline(self, when: float) -> None: ...
    @property
    def shield(self) -> bool: ...
    @shield.setter
    def shield(self, value: bool) -> None: ...
    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None: ...
    def cancel(self, reason: str | None) -> None: ...
    @property
    def cancel_called(self) -> bool: ...
    @property
    def cancelled_caught(self) -> bool: ...


class NativeGroup(Protocol):
    """What `Host.open_group` returns. Its children must be `Task` records too."""

    async def __aenter__(self) -> NativeScope: ...
    async def __aexit__(self, *exc: Any) -> bool | None: ...
    def start_soon(
        self, function: Callable[..., Coroutine[Any, Any, object]], args: tuple[Any, ...], name: str
    ) -> None: ...
    async def start(
        self, function: Callable[..., Coroutine[Any, Any, object]], args: tuple[Any, ...], name: str
    ) -> Any: ...


class Feed(Protocol):
    """What a `NativeStream` tells. To be called in the host's thread, also from inside the stream's methods."""

    def received(self, data: bytes) -> None:
        """Bytes have come, also some more after ``pause``."""

    def ended(self, error: OSError | None = None) -> None:
        """No more will come; others may still be sent."""

    def has_room(self) -> None:
        """After a ``write`` that said `False`: what was taken is sent, and there is room again."""

    def lost(self, error: OSError | None = None) -> None:
        """The connection is no more, in neither direction; the last call.

        :param error: of the class that a socket would raise; ``None`` if the peer, or ``close``, has ended it in order.
        """


class NativeStream(Protocol):
    """What `Backend.unwrap` may return for a connection of the framework's own: its methods never wait.

    :ivar peer: the peer's address, for messages.
    """

    @property
    def peer(self) -> object: ...
    @property
    def can_end_write(self) -> bool: ...

    def start(self, feed: Feed) -> None:
        """From now on what comes is the feed's, beginning with what is buffered already.

        :raises BusyError: if somebody is reading.
        """

    def write(self, data: bytes) -> bool:
        """Takes all of it. `False` if that is enough for now: the feed's ``has_room`` says when it is not."""
        raise NotImplementedError

    def pause(self) -> None:
        """The feed has enough for now. Nothing has to come to a stop at once."""

    def resume(self) -> None:
        """A task waits for bytes."""

    def end_write(self) -> None:
        """Once what was taken is sent, the peer is to see the end of this direction; if ``can_end_write``."""

    def close(self) -> None:
        """Once what was taken is sent, closes. The feed's ``lost`` comes after it, and after ``abort``."""

    def abort(self) -> None:
        """Drops what is not sent, and closes at once, by a reset if there is such a thing; also after ``close``."""

    def extra(self, name: str, default: Any) -> Any:
        """What `Writer.get_extra_info` gives."""
