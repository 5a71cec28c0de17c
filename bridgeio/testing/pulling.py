"""A byte stream in memory with AnyIO's methods, made of two queues: what `bridgeio.wrap` takes on every backend."""

from __future__ import annotations

import bridgeio

__all__ = ["MemoryStream", "memory_pair"]

END = b""


class MemoryStream:
    """One end. Everything that is sent stays in one piece, and the other end can be a few pieces behind.

    :ivar closed: whether ``aclose`` was called.
    """

    def __init__(self, incoming: bridgeio.Queue[bytes], outgoing: bridgeio.Queue[bytes]) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._ended = False
        self.closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self.closed:
            raise bridgeio.ClosedResourceError
        try:
            data = await self._incoming.get()
        except bridgeio.QueueShutDown:
            raise bridgeio.BrokenResourceError from None
        if data == END:
            raise bridgeio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        try:
            await self._outgoing.put(item)
        except bridgeio.QueueShutDown:
            raise bridgeio.BrokenResourceError from None

    async def send_eof(self) -> None:
        self._ended = True
        await self._outgoing.put(END)

    async def aclose(self) -> None:
        """Without ceremony if it is cancelled: then the other end finds a broken stream."""
        self.closed = True
        if self._ended:
            return
        self._ended = True
        try:
            await self._outgoing.put(END)
        except bridgeio.QueueShutDown:
            return
        except BaseException:
            self.break_off()
            raise

    def break_off(self) -> None:
        """As a reset would."""
        self._incoming.shutdown(immediate=True)
        self._outgoing.shutdown(immediate=True)


def memory_pair(pieces: int = 4) -> tuple[MemoryStream, MemoryStream]:
    """Two ends, with room for so many pieces in each direction."""
    there: bridgeio.Queue[bytes] = bridgeio.Queue(pieces)
    back: bridgeio.Queue[bytes] = bridgeio.Queue(pieces)
    return MemoryStream(there, back), MemoryStream(back, there)
