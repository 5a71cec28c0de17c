"""Publish and subscribe: messages as an async iterator.

No task stands behind it and nothing is stored: who iterates reads. When nobody does, TCP stops the server, which
hangs up after a while (``client-output-buffer-limit``), and that is a `ConnectionLostError` here. A subscription is
not made anew by itself, because nobody could tell how many messages were missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import bridgeio
from rediswire.decoding import Reply
from rediswire.encoding import encode
from rediswire.errors import ConnectionLostError, ReplyError
from rediswire.wire import Address, Wire

__all__ = ["SILENCE", "Message", "Subscription"]

Names = tuple[str | bytes, ...]

SILENCE = 30.0


@dataclass(frozen=True, slots=True)
class Message:
    """:ivar pattern: the one that matched; ``None`` for a channel that was subscribed to by its name."""

    channel: bytes
    data: bytes
    pattern: bytes | None = None


class Subscription:
    """Made by `Redis.subscribe`. Inside its block everything that is published from now on comes, in order.

    One task may iterate; any may subscribe and unsubscribe meanwhile. A cancelled ``anext`` has taken no message.
    """

    def __init__(self, address: Address, channels: Names, patterns: Names, silence: float) -> None:
        self._address = address
        self._channels = channels
        self._patterns = patterns
        self._silence = silence
        self._wire: Wire | None = None

    async def __aenter__(self) -> Self:
        """:raises OSError: and what else `Address.open` raises."""
        self._wire = await self._address.open()
        try:
            with bridgeio.fail_after(self._address.timeout):
                await self._begin()
        except BaseException:
            self._wire.close()
            raise
        return self

    async def _begin(self) -> None:
        """Until all is confirmed: a message that comes between two confirmations is none of them."""
        await self.subscribe(*self._channels, patterns=self._patterns)
        missing = len(self._channels) + len(self._patterns)
        while missing:
            missing -= _as_message(_check(await self._connection.receive())) is None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """:raises ConnectionLostError: at the end of the connection; it is for you to subscribe anew."""
        while True:
            message = _as_message(_check(await self._receive()))
            if message is not None:
                return message

    async def subscribe(self, *channels: str | bytes, patterns: Names = ()) -> None:
        """Adds some. From when on their messages come, the server decides."""
        self._change("SUBSCRIBE", channels)
        self._change("PSUBSCRIBE", patterns)
        await self._connection.drain()

    async def unsubscribe(self, *channels: str | bytes, patterns: Names = ()) -> None:
        """Takes some back; messages that are on their way still come."""
        self._change("UNSUBSCRIBE", channels)
        self._change("PUNSUBSCRIBE", patterns)
        await self._connection.drain()

    @property
    def _connection(self) -> Wire:
        if self._wire is None:
            raise RuntimeError("a subscription is used inside its block: async with redis.subscribe(...) as messages:")
        return self._wire

    def _change(self, command: str, names: Names) -> None:
        if names:
            self._connection.send(encode((command, *names)))

    async def _receive(self) -> Reply:
        """Asks a server that is silent for a sign of life: one that is gone for good looks the same to TCP."""
        with bridgeio.move_on_after(self._silence):
            return await self._connection.receive()
        self._connection.send(encode(("PING",)))
        with bridgeio.move_on_after(self._address.timeout):
            return await self._connection.receive()
        self._connection.close()
        raise ConnectionLostError(f"the server does not answer a PING within {self._address.timeout} seconds")


def _check(reply: Reply) -> Reply:
    if isinstance(reply, ReplyError):
        raise reply
    return reply


def _as_message(reply: Reply) -> Message | None:
    """``None`` for the rest: what was subscribed to, and answers to PING."""
    match reply:
        case [b"message", channel, data]:
            return Message(channel, data)
        case [b"pmessage", pattern, channel, data]:
            return Message(channel, data, pattern)
    return None
