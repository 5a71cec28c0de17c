"""Whole messages out of fragments, none larger than agreed."""

from __future__ import annotations

from wsproto.events import BytesMessage, TextMessage

__all__ = ["Assembly", "Message", "MessageTooBigError"]

Message = str | bytes


class MessageTooBigError(Exception):
    """It is not waited for: nobody knows how much more would come."""


class Assembly:
    """The message that is coming in."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._parts: list[str | bytes] = []
        self._size = 0

    def add(self, event: TextMessage | BytesMessage) -> Message | None:
        """The message, if this was the last part of it.

        :raises MessageTooBigError: as soon as it is. Characters are counted, of bytes messages bytes.
        """
        self._size += len(event.data)
        if self._size > self._max_size:
            raise MessageTooBigError(f"a message of more than {self._max_size} bytes")
        self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
        if not event.message_finished:
            return None
        parts, self._parts, self._size = self._parts, [], 0
        return type(parts[0])().join(parts)  # type: ignore[arg-type]  # all are of one kind
