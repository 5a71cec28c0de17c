"""The client: commands from any number of tasks, over a connection that is made anew when it was lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from types import TracebackType
from typing import Any, Self

import bridgeio
from rediswire.decoding import Reply
from rediswire.encoding import Argument, encode
from rediswire.errors import NotConnectedError, RedisError, ReplyError
from rediswire.pipelining import Pipe
from rediswire.sharing import TRANSACTION, check_shared
from rediswire.subscription import SILENCE, Subscription
from rediswire.wire import Address, Wire

__all__ = ["Redis"]


class Redis:
    """``async with Redis("localhost", 6379) as redis:``. Any number of tasks may use it at once.

    Nothing is connected before the first command needs it. When the connection is lost:

    * What was under way raises `ConnectionLostError`, and is not repeated: an ``INCR`` may have been counted.
    * The next command connects anew, with user, password and database.
    * If that fails it raises `NotConnectedError`, and so does every command for ``pause`` seconds: nobody knocks.

    A cancelled command loses its answer, and nobody else's. Deadlines are the caller's, with `bridgeio.fail_after`;
    ``patience`` is for a server that says nothing at all, so give a client for ``BLPOP`` and its like
    ``patience=math.inf``.

    :param room: how many calls may be under way; further ones wait.
    :param patience: seconds after which a server that says nothing, and owes an answer, counts as lost.
    :param pause: seconds between two attempts to connect, after one that failed.
    :param address: the fields of `Address`.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        *,
        room: int = 1024,
        patience: float = 30.0,
        pause: float = 1.0,
        **address: Any,
    ) -> None:
        self.address = Address(host=host, port=port, **address)
        self._room = room
        self._patience = patience
        self._pause = pause
        self._group = bridgeio.create_task_group()
        self._connecting = bridgeio.Lock()
        self._pipe: Pipe | None = None
        self._failure = ""
        self._not_before = -inf
        self._is_open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """What the block raises comes out as it is, not in an ExceptionGroup: that there is a group is our affair."""
        self._is_open = False
        self._group.cancel_scope.cancel("the client was closed")
        if isinstance(error, Exception):
            await self._group.__aexit__(None, None, None)
            return False
        return await self._group.__aexit__(kind, error, trace)

    async def execute(self, *command: Argument) -> Reply:
        """The server's answer: ``await redis.execute("SET", "key", "value", "EX", 10)``.

        Byte strings come as bytes, a status such as ``OK`` as a str.

        :raises ReplyError: if it is an error.
        :raises ConnectionLostError: if there is none; the command may have been carried out.
        :raises NotConnectedError: if the server cannot be reached; nothing was sent.
        :raises ValueError: for a command that would change the connection for all tasks.
        """
        check_shared(command)
        data = encode(command)
        (reply,) = await (await self._connected()).call(data, 1)
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    async def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Reply]:
        """Sends commands together, no other task's among them, and returns their answers in order.

        Each may fail for itself, so a `ReplyError` is returned in its place, and not raised.
        """
        several = list(commands)
        for command in several:
            check_shared(command, TRANSACTION)
        if not several:
            return []
        data = b"".join(map(encode, several))
        return await (await self._connected()).call(data, len(several))

    def subscribe(
        self, *channels: str | bytes, patterns: Iterable[str | bytes] = (), silence: float = SILENCE
    ) -> Subscription:
        """``async with redis.subscribe("news") as messages:``, over a connection of its own.

        :param silence: seconds without a message after which the server has to give a sign of life within ``timeout``.
        """
        return Subscription(self.address, channels, tuple(patterns), silence)

    async def _connected(self) -> Pipe:
        self._check_open()
        if self._pipe is None or self._pipe.lost is not None:
            async with self._connecting:
                if self._pipe is None or self._pipe.lost is not None:
                    self._pipe = await self._connect()
        return self._pipe

    async def _connect(self) -> Pipe:
        if bridgeio.current_time() < self._not_before:
            raise NotConnectedError(f"{self._failure}; that was less than {self._pause} seconds ago")
        wire = await self._open()
        try:
            self._check_open()
        except NotConnectedError:  # closed while the server was being greeted
            wire.close()
            raise
        pipe = Pipe(wire, room=self._room, patience=self._patience)
        self._group.start_soon(pipe.run, name="replies of Redis")
        return pipe

    async def _open(self) -> Wire:
        try:
            return await self.address.open()
        except (OSError, RedisError) as error:
            self._failure = f"cannot connect to Redis: {str(error) or type(error).__name__}"
            self._not_before = bridgeio.current_time() + self._pause
            raise NotConnectedError(self._failure) from error

    def _check_open(self) -> None:
        if not self._is_open:
            raise NotConnectedError("this client is used outside of its block: async with Redis(...) as redis:")
