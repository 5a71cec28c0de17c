"""One connection to the server: what is sent, and the replies one after another."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bridgeio
from rediswire.decoding import LIMIT, Decoder, Reply
from rediswire.encoding import Argument, encode
from rediswire.errors import ConnectionLostError, ReplyError

__all__ = ["Address", "Wire"]

CHUNK = 64 * 1024


class Wire:
    """A stream of replies. One task may receive; any may send."""

    def __init__(self, reader: bridgeio.Reader, writer: bridgeio.Writer, limit: int) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(limit)

    def send(self, data: bytes) -> None:
        """Takes all of it or raises; never waits."""
        try:
            self._writer.write(data)
        except OSError as error:
            raise _lost(error) from error

    async def drain(self) -> None:
        """Waits while the server does not take what was sent."""
        try:
            await self._writer.drain()
        except OSError as error:
            raise _lost(error) from error

    async def receive(self) -> Reply:
        """The next reply, be it an error. A cancelled call has taken nothing: bytes that came are in the decoder."""
        while True:
            for reply in self._decoder:
                return reply
            try:
                data = await self._reader.read(CHUNK)
            except (OSError, EOFError) as error:  # EOFError: under TLS, an end that the server did not announce
                raise _lost(error) from error
            if not data:
                raise ConnectionLostError("the server has closed the connection")
            self._decoder.feed(data)

    async def ask(self, *commands: Sequence[Argument]) -> list[Reply]:
        """Nobody else must be receiving.

        :raises ReplyError: if one was refused.
        """
        self.send(b"".join(map(encode, commands)))
        replies = [await self.receive() for _ in commands]
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise reply
        return replies

    def close(self) -> None:
        """At once: nothing that is worth a wait is left to be sent."""
        self._writer.abort()


def _lost(error: Exception) -> ConnectionLostError:
    return ConnectionLostError(f"the connection is lost: {error}")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the server is, and as whom it is talked to.

    :ivar path: a UNIX socket, instead of host and port.
    :ivar protocol: 2 or 3; with 3 the server answers with maps, sets, floats and booleans where it has some.
    :ivar timeout: seconds for the connection and its greeting, and for a sign of life of a silent server.
    :ivar limit: bytes that one reply may have.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    ssl: ssl.SSLContext | bool | None = None
    server_hostname: str | None = None
    username: str | None = None
    password: str | None = None
    database: int = 0
    protocol: int = 2
    timeout: float = 30.0
    limit: int = LIMIT

    async def open(self) -> Wire:
        """
        :raises OSError: if there is no connection.
        :raises ReplyError: if the server refuses user, password or database.
        :raises TimeoutError: if all that takes too long.
        """
        with bridgeio.fail_after(self.timeout):
            wire = Wire(*await self._open_stream(), self.limit)
            try:
                await wire.ask(*self._greeting())
            except BaseException:
                wire.close()
                raise
        return wire

    async def _open_stream(self) -> tuple[bridgeio.Reader, bridgeio.Writer]:
        tls: dict[str, Any] = {"ssl": self.ssl, "server_hostname": self.server_hostname}
        if self.path is not None:
            return await bridgeio.open_unix_connection(self.path, **tls)
        return await bridgeio.open_connection(self.host, self.port, **tls)

    def _greeting(self) -> list[Sequence[Argument]]:
        greeting: list[Sequence[Argument]] = []
        if self.password is not None:
            user = () if self.username is None else (self.username,)
            greeting.append(("AUTH", *user, self.password))
        if self.protocol != 2:
            greeting.append(("HELLO", self.protocol))
        if self.database:
            greeting.append(("SELECT", self.database))
        return greeting
