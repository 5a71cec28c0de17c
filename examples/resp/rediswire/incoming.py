"""Bytes that have come and are not used yet. Nothing here waits: whoever needs more says so and is asked again."""

from __future__ import annotations

from rediswire.errors import ProtocolError

__all__ = ["LINE_LIMIT", "Incoming"]

LINE_LIMIT = 64 * 1024  # as of Redis itself


class Incoming:
    """Lines and blocks out of a stream of bytes that comes in any pieces."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        del self._bytes[: self._at]
        self._at = 0
        self._bytes += data

    def line(self) -> bytes | None:
        """The next line without its end, or ``None`` if it is not whole.

        :raises ProtocolError: if it is too long.
        """
        end = self._bytes.find(b"\n", self._at)
        if (end if end >= 0 else len(self._bytes)) - self._at > LINE_LIMIT:
            raise ProtocolError(f"a line of more than {LINE_LIMIT} bytes")
        if end < 0:
            return None
        line = bytes(self._bytes[self._at : end])
        self._at = end + 1
        return line.removesuffix(b"\r")

    def block(self, size: int) -> bytes | None:
        """The next ``size`` bytes, which the end of a line has to follow; ``None`` if they are not all there.

        :raises ProtocolError: if something else follows.
        """
        end = self._at + size
        if len(self._bytes) < end + 2:
            return None
        if self._bytes[end : end + 2] != b"\r\n":
            raise ProtocolError(f"a block of {size} bytes is followed by something else than the end of a line")
        block = bytes(self._bytes[self._at : end])
        self._at = end + 2
        return block
