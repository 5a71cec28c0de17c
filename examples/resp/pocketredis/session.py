"""One client's connection, as commands see it."""

from __future__ import annotations

import bridgeio
from pocketredis.channels import Channels
from pocketredis.errors import CommandError
from pocketredis.replies import encode
from pocketredis.requests import Request
from pocketredis.store import Store
from pocketredis.table import find

__all__ = ["Database", "Session"]

# What RESP2 lets a subscriber say: all that comes to it between two messages has to be told from them.
FOR_SUBSCRIBERS = {b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"PING", b"QUIT"}


class Database:
    """What all connections share."""

    def __init__(self) -> None:
        self.store = Store()
        self.channels = Channels()


class Session:
    """:ivar subscriptions: (name, whether it is a pattern), in the order in which they were asked for.
    :ivar is_over: nothing more is answered, and the server hangs up.
    """

    def __init__(self, database: Database, writer: bridgeio.Writer) -> None:
        self.database = database
        self.writer = writer
        self.subscriptions: dict[tuple[bytes, bool], None] = {}
        self.is_over = False
        self._unsent: list[bytes] = []
        self.unsent_size = 0

    def answer(self, request: Request) -> None:
        """Carries it out. The answer is sent by the next `flush`, with those of its neighbours in the pipeline."""
        try:
            command = find(request)
            if self.subscriptions and request[0].upper() not in FOR_SUBSCRIBERS:
                raise CommandError("ERR a subscriber can only (un)subscribe, PING and QUIT")
            subject = self if command.on_session else self.database.store
            self.say(encode(command.function(subject, *request[1:])))
        except CommandError as error:
            self.say(encode(error))

    def say(self, reply: bytes) -> None:
        self._unsent.append(reply)
        self.unsent_size += len(reply)

    async def flush(self) -> None:
        """What was carried out is answered, whatever happens here: a cancel comes after the write."""
        replies, self._unsent, self.unsent_size = self._unsent, [], 0
        self.writer.writelines(replies)
        await self.writer.drain()

    def subscribe(self, name: bytes, *, pattern: bool) -> None:
        self.subscriptions[name, pattern] = None
        self.database.channels.subscribe(self, name, pattern=pattern)

    def unsubscribe(self, name: bytes, *, pattern: bool) -> None:
        self.subscriptions.pop((name, pattern), None)
        self.database.channels.unsubscribe(self, name, pattern=pattern)

    def end(self) -> None:
        for name, pattern in list(self.subscriptions):
            self.unsubscribe(name, pattern=pattern)
