"""Many commands under way on one connection. The server answers in order, so the oldest call gets what comes.

Rule: a call leaves the line only when its replies have come, or when the connection is lost. Its task may be
cancelled meanwhile; the replies come all the same, and must not be taken for those of the next call.
"""

from __future__ import annotations

from collections import deque
from math import inf

import bridgeio
from rediswire.decoding import Push, Reply
from rediswire.errors import ConnectionLostError, NotConnectedError, ProtocolError
from rediswire.wire import Wire

__all__ = ["Pipe"]


class Pipe:
    """Calls from many tasks over one `Wire`. `run` has to run in a task of its own meanwhile.

    :param room: how many calls may be under way; further ones wait.
    :param patience: seconds that the server may say nothing while a call is under way.
    :ivar lost: why no more calls are taken, once that is so.
    """

    def __init__(self, wire: Wire, *, room: int, patience: float) -> None:
        self.lost: str | None = None
        self._wire = wire
        self._room = bridgeio.Semaphore(room)
        self._calls: deque[_Call] = deque()
        self._patience = patience
        self._silence = bridgeio.CancelScope()

    async def call(self, data: bytes, expected: int) -> list[Reply]:
        """Sends encoded commands and waits for as many replies as are expected.

        Cancelled while it waits for room, it has sent nothing; later, the commands are carried out.

        :raises ConnectionLostError: if the connection ends before the last reply has come.
        :raises NotConnectedError: if it has ended before anything was sent.
        """
        await self._room.acquire()
        call = self._send(data, expected)
        try:
            await self._wire.drain()
        except ConnectionLostError as error:
            self._lose(error)
        await call.over.wait()
        if call.missing:
            raise ConnectionLostError(self.lost)
        return call.replies

    async def run(self) -> None:
        """Hands out replies until the connection is lost, or this is cancelled; raises neither."""
        try:
            with self._silence:
                while True:
                    self._take(await self._wire.receive())
            self._lose(f"the server has said nothing for {self._patience} seconds")
        except (ConnectionLostError, ProtocolError) as error:
            self._lose(error)
        finally:
            self._lose("the client was closed")

    def _send(self, data: bytes, expected: int) -> _Call:
        """No wait stands between what is sent and the place in the line."""
        try:
            if self.lost is not None:
                raise NotConnectedError(f"the connection was lost before anything was sent: {self.lost}")
            self._wire.send(data)
        except BaseException:
            self._room.release()
            raise
        call = _Call(expected)
        self._calls.append(call)
        if len(self._calls) == 1:
            self._wait_anew()
        return call

    def _take(self, reply: Reply) -> None:
        if isinstance(reply, Push):
            return  # nobody has asked for it
        if not self._calls:
            raise ProtocolError(f"the server answers without having been asked: {reply!r:.60}")
        call = self._calls[0]
        call.replies.append(reply)
        if not call.missing:
            self._end(self._calls.popleft())
        self._wait_anew()

    def _wait_anew(self) -> None:
        self._silence.deadline = bridgeio.current_time() + self._patience if self._calls else inf

    def _lose(self, reason: object) -> None:
        if self.lost is None:
            self.lost = str(reason)
            self._wire.close()
            while self._calls:
                self._end(self._calls.popleft())

    def _end(self, call: _Call) -> None:
        call.over.set()
        self._room.release()


class _Call:
    """Some commands that were sent together, and their replies as far as they have come."""

    __slots__ = ("_expected", "over", "replies")

    def __init__(self, expected: int) -> None:
        self.over = bridgeio.Event()
        self.replies: list[Reply] = []
        self._expected = expected

    @property
    def missing(self) -> int:
        return self._expected - len(self.replies)
