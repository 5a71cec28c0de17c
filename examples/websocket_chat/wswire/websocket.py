"""A WebSocket over a reader and a writer. wsproto knows the protocol, bridgeio does the waiting.

Rules:
1. Nobody reads behind the scenes. Whoever waits, in `receive` or in `close`, reads for all: messages are kept, pings
   are answered, a silent peer is found. So a peer is heard while somebody waits for it, and stopped while nobody does.
2. A frame that was made is sent. Compression has a memory that both sides share, so one frame that was thrown away
   would spoil all that follow. A peer that does not take its frames is therefore disconnected, and none is dropped.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from wsproto import WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

import bridgeio
from wswire.errors import ConnectionClosedError
from wswire.messages import Assembly, Message, MessageTooBigError

__all__ = ["Limits", "WebSocket"]

CHUNK = 8 * 1024  # what is decompressed at once is at most a thousand times as large (RFC 1951)
CAN_CLOSE = (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much, and how long.

    :ivar max_size: bytes of one message, in either direction.
    :ivar outbox: bytes that may wait for a peer that does not read; with more it is disconnected.
    :ivar ping_interval: seconds of silence after which the peer is asked whether it is there.
    :ivar ping_timeout: seconds that it has for the answer.
    :ivar close_timeout: seconds for the closing handshake.
    """

    max_size: int = 1024 * 1024
    outbox: int = 4 * 1024 * 1024
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close_timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.outbox < 2 * self.max_size:
            raise ValueError(
                f"an outbox of {self.outbox} bytes is too small for messages of {self.max_size}: double it"
            )


class WebSocket:
    """``async with`` it, and ``async for message in websocket:``. Made by `connect` and by `Handshake.accept`.

    Any task may send, receive and close; each message goes to one. The iteration ends when somebody has said goodbye,
    and raises `ConnectionClosedError` if the connection was lost.

    :ivar closed: why nothing more can be received, once that is so.
    """

    def __init__(
        self, reader: bridgeio.Reader, writer: bridgeio.Writer, protocol: WSConnection, limits: Limits
    ) -> None:
        self.closed: ConnectionClosedError | None = None
        self._reader = reader
        self._writer = writer
        self._protocol = protocol
        self._limits = limits
        self._assembly = Assembly(limits.max_size)
        self._messages: deque[Message] = deque()
        self._reading = bridgeio.Lock()
        self._sending = bridgeio.Lock()
        writer.write_limit = limits.outbox

    async def receive(self) -> Message:
        """The next message: str for text, bytes otherwise. A cancelled call has taken none.

        :raises ConnectionClosedError: at the end.
        """
        async with self._reading:
            while not self._messages:
                if self.closed is not None:
                    raise self._closed_error()
                await self._read_on()
            return self._messages.popleft()

    async def send(self, message: Message) -> None:
        """Sends a message when the peer has taken most of those before. A cancelled call has sent nothing.

        :raises ConnectionClosedError: if it cannot be sent any more.
        :raises ValueError: if it is larger than ``max_size``.
        """
        async with self._sending:
            with suppress(OSError):  # which the next line is told, too
                await self._writer.drain()
            self.send_nowait(message)

    def send_nowait(self, message: Message) -> None:
        """Sends it without waiting for the peer, whose outbox is bounded: see `Limits`. For those who send to many.

        :raises ConnectionClosedError: also if it does not fit into the outbox; the peer is disconnected then.
        :raises ValueError: if it is larger than ``max_size``.
        """
        size = len(message.encode() if isinstance(message, str) else message)
        if size > self._limits.max_size:
            raise ValueError(f"a message of {size} bytes is larger than max_size={self._limits.max_size}")
        if self._protocol.state is not ConnectionState.OPEN:
            raise self._closed_error()
        self._say(TextMessage(message) if isinstance(message, str) else BytesMessage(message))
        if self.closed is not None:
            raise self._closed_error()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Says goodbye, waits for the peer's, and ends the connection; for ``close_timeout`` seconds at most, also
        in a cancelled scope. Messages that come after our goodbye are not received any more. May be called again.
        """
        with bridgeio.move_on_after(self._limits.close_timeout, shield=True) as scope:
            self._say_goodbye(code, reason)
            async with self._reading:
                while self.closed is None:
                    await self._read_on()
                await self._hang_up()
        if scope.cancelled_caught:
            self._lose("the closing handshake took too long")
        self._writer.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except ConnectionClosedError as error:
            if error.is_normal:
                raise StopAsyncIteration from None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(1000 if error is None else 1001)

    async def _read_on(self) -> None:
        data = await self._read()
        if data:
            self._take(data)
        else:
            self._lose("the connection ended without a goodbye")

    async def _read(self) -> bytes:
        """What comes next; ``b""`` at the end. Whatever comes is a sign of life."""
        with suppress(OSError, EOFError):
            with bridgeio.move_on_after(self._limits.ping_interval):
                return await self._reader.read(CHUNK)
            if self._protocol.state is ConnectionState.OPEN:
                self._say(Ping())
            with bridgeio.move_on_after(self._limits.ping_timeout):
                return await self._reader.read(CHUNK)
            self._lose(f"no answer to a ping within {self._limits.ping_timeout} seconds")
        return b""

    def _take(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        try:
            for event in self._protocol.events():
                self._handle(event)
        except MessageTooBigError as error:
            self._say_goodbye(1009, str(error))
            self._end(1009, str(error))

    def _handle(self, event: Event) -> None:
        match event:
            case TextMessage() | BytesMessage():
                message = self._assembly.add(event)
                if message is not None and self._protocol.state is not ConnectionState.LOCAL_CLOSING:
                    self._messages.append(message)
            case Ping():
                if self._protocol.state is ConnectionState.OPEN:
                    self._say(event.response())
            case CloseConnection():  # the peer's, or by wsproto for a peer that breaks the rules
                self._say_goodbye(event.code, event.reason)
                self._end(event.code, event.reason or "")
            case Pong():
                pass

    def _say_goodbye(self, code: int, reason: str | None) -> None:
        if self._protocol.state in CAN_CLOSE:
            self._say(CloseConnection(code=code, reason=reason))

    def _say(self, event: Event) -> None:
        """The peer's outbox is the writer: what the kernel does not take waits there, and is bounded by it."""
        try:
            self._writer.write(self._protocol.send(event))
        except bridgeio.WriteBufferFullError:
            self._lose(f"the peer does not read: more than {self._limits.outbox} bytes wait for it")
        except OSError as error:
            self._lose(str(error))

    def _lose(self, reason: str) -> None:
        self._end(1006, reason)
        self._writer.abort()

    def _end(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = ConnectionClosedError(code, reason)

    def _closed_error(self) -> ConnectionClosedError:
        if self.closed is None:
            return ConnectionClosedError(1005, "this side has closed it")
        return ConnectionClosedError(self.closed.code, self.closed.reason)

    async def _hang_up(self) -> None:
        """First our direction, then the peer's: a socket that is closed on unread bytes takes our goodbye with it."""
        with suppress(OSError, EOFError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            while await self._reader.read(CHUNK):
                pass
