"""One connection, either side: the events of h11 over a reader and a writer.

h11 knows what may be said when, and makes bytes of it, but does no I/O; bridgeio does, and knows no HTTP. This is
all that stands between the two. It waits in two places only, and each of them has its bound.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from http import HTTPStatus
from typing import Any

import h11

import bridgeio
from http11.errors import ProtocolError, StalledError
from http11.limits import Limits
from http11.messages import Body, Headers

__all__ = ["Wire", "request_head", "response_head"]

CHUNK = 64 * 1024  # bytes taken from the stream at once


class Wire:
    """
    :param peer: whom it leads to, for messages.
    :ivar silent: whether nothing has come since this exchange began.
    """

    def __init__(
        self, role: Any, reader: bridgeio.Reader, writer: bridgeio.Writer, limits: Limits, peer: object
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.silent = True
        self._limits = limits
        self._peer = peer
        self._cycle = 0
        self._serves = role is h11.SERVER
        self._h11 = h11.Connection(role, max_incomplete_event_size=limits.head)

    # What comes

    async def next_event(self) -> Any:
        """
        :raises ProtocolError: for what is no HTTP, also if the stream ends where a message does not.
        :raises ConnectionError: if the connection is broken.
        """
        while (event := self.event_now()) is h11.NEED_DATA:
            data = await self.reader.read(CHUNK)
            self.silent = self.silent and not data
            self._h11.receive_data(data)
        return event

    async def next_event_in_time(self) -> Any:
        """`next_event` where the peer has to go on.

        :raises StalledError: if it does not.
        """
        with self._unless_it_stalls():
            return await self.next_event()

    def event_now(self) -> Any:
        """The next event, if all of it has come."""
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint if self._serves else HTTPStatus.BAD_GATEWAY
            raise ProtocolError(status, f"{self._peer}: {error}") from error

    async def body(self) -> AsyncGenerator[bytes, None]:
        """A message's body while it comes; a client that waits to be asked for it is asked now."""
        cycle = self._cycle
        if self.waits_for_100:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))
        while self.has_more and cycle == self._cycle:  # who comes too late must not get the next one's
            event = await self.next_event_in_time()
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    @property
    def has_more(self) -> bool:
        """Whether the message that comes is not over."""
        return self._h11.their_state is h11.SEND_BODY

    @property
    def waits_for_100(self) -> bool:
        """Whether the client holds its body back until it hears that it is wanted (RFC 9110, 10.1.1)."""
        return self._h11.they_are_waiting_for_100_continue

    def is_over(self) -> bool:
        """Whether the whole message has come. What nobody has read of it is passed over."""
        with suppress(ProtocolError):
            while self.has_more and self.event_now() is not h11.NEED_DATA:
                pass
        return not self.has_more

    def is_quiet(self) -> bool:
        """Whether nothing has come, not even the end of the stream. Looks, and takes nothing."""
        if any(self._h11.trailing_data):
            return False
        try:
            self.writer.get_extra_info("socket").recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    async def skip(self, most: int) -> None:
        """Reads the rest of a message, if that is not much."""
        async with aclosing(self.body()) as body:
            async for part in body:
                most -= len(part)
                if most < 0:
                    return

    # What goes

    def put(self, head: Any, body: bytes) -> None:
        """Sends a whole message in one piece, and does not wait: for the last words.

        :raises ConnectionError: if the connection is broken.
        """
        self._write(head, h11.Data(data=body), h11.EndOfMessage())

    async def send(self, *events: Any) -> None:
        """
        :raises StalledError: if the peer does not take it.
        :raises ValueError: for a header that cannot be, or a body that is not as long as its head says.
        :raises ConnectionError: if the connection is broken.
        """
        self._write(*events)
        with self._unless_it_stalls():
            await self.writer.drain()

    async def send_message(self, head: Any, body: Body) -> None:
        """With a body that is there already, in one piece."""
        if isinstance(body, bytes):
            await self.send(head, h11.Data(data=body), h11.EndOfMessage())
            return
        await self.send(head)
        async for part in body:
            await self.send(h11.Data(data=part))
        await self.send(h11.EndOfMessage())

    def _write(self, *events: Any) -> None:
        with _sayable():
            data = [self._h11.send(event) or b"" for event in events]
        self.writer.writelines(data)

    @property
    def may_answer(self) -> bool:
        """Whether this side, a server, may begin a response."""
        return self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def is_speaking(self) -> bool:
        """Whether this side has begun a message, and cannot end it as its head has promised."""
        return self._h11.our_state in (h11.SEND_BODY, h11.ERROR)

    # What follows

    def next_cycle(self) -> bool:
        """Makes the connection ready for another exchange; ``False`` if it can have none."""
        if not self._h11.our_state is self._h11.their_state is h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._cycle += 1
        self.silent = True
        return True

    async def hang_up(self) -> None:
        """Ends our side, and waits a little until the peer has ended its own (RFC 9112, 9.6).

        Closing at once would reset the connection if the peer has sent more than we have read, and a reset takes
        back what the peer has not read: our last words.
        """
        with suppress(OSError), bridgeio.move_on_after(self._limits.goodbye):
            if self.writer.can_write_eof():
                self.writer.write_eof()
            while await self.reader.read(CHUNK):
                pass

    @contextmanager
    def _unless_it_stalls(self) -> Iterator[None]:
        with bridgeio.move_on_after(self._limits.stall) as scope:
            yield
        if scope.cancelled_caught:
            status = HTTPStatus.REQUEST_TIMEOUT if self._serves else HTTPStatus.GATEWAY_TIMEOUT
            raise StalledError(status, f"{self._peer}: nothing has moved for {self._limits.stall} s")


def request_head(method: str, target: str, headers: Headers) -> h11.Request:
    """
    :raises ValueError: for what cannot stand there, such as a line break.
    """
    with _sayable():
        return h11.Request(method=method, target=target, headers=headers.raw)


def response_head(status: int, reason: str, headers: Headers) -> h11.Response:
    """
    :raises ValueError: likewise.
    """
    with _sayable():
        return h11.Response(status_code=status, reason=reason.encode("ascii"), headers=headers.raw)


@contextmanager
def _sayable() -> Iterator[None]:
    try:
        yield
    except h11.LocalProtocolError as error:
        raise ValueError(f"that cannot be said in HTTP/1.1: {error}") from error
