"""Publish and subscribe. A message is written to each subscriber at once; nobody waits for anybody.

What a slow subscriber does not take waits in its `Writer`, up to the server's ``write_limit``. Beyond that it is
disconnected, as by Redis: to drop some of its messages in silence would be worse, and to wait would stop the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fnmatch import translate
from functools import lru_cache
from re import Pattern
from re import compile as compile_pattern
from typing import Protocol

import bridgeio
from pocketredis.replies import encode

__all__ = ["Channels", "Subscriber", "glob"]


class Subscriber(Protocol):
    writer: bridgeio.Writer


class Channels:
    """Who hears what, by the names of channels and by patterns."""

    def __init__(self) -> None:
        self._by_name: defaultdict[bytes, set[Subscriber]] = defaultdict(set)
        self._by_pattern: defaultdict[bytes, set[Subscriber]] = defaultdict(set)

    def subscribe(self, subscriber: Subscriber, name: bytes, *, pattern: bool = False) -> None:
        (self._by_pattern if pattern else self._by_name)[name].add(subscriber)

    def unsubscribe(self, subscriber: Subscriber, name: bytes, *, pattern: bool = False) -> None:
        subscribers = self._by_pattern if pattern else self._by_name
        subscribers[name].discard(subscriber)
        if not subscribers[name]:
            del subscribers[name]

    def count(self, name: bytes) -> int:
        """How many have subscribed to a channel by its name."""
        return len(self._by_name.get(name, ()))

    def publish(self, channel: bytes, message: bytes) -> int:
        """How many have got it."""
        return sum(tell(subscriber, reply) for subscriber, reply in list(self._addressed(channel, message)))

    def _addressed(self, channel: bytes, message: bytes) -> Iterator[tuple[Subscriber, bytes]]:
        reply = encode([b"message", channel, message])
        for subscriber in self._by_name.get(channel, ()):
            yield subscriber, reply
        for pattern, subscribers in self._by_pattern.items():
            if glob(pattern).match(channel.decode("latin-1")):
                reply = encode([b"pmessage", pattern, channel, message])
                for subscriber in subscribers:
                    yield subscriber, reply


def tell(subscriber: Subscriber, data: bytes) -> bool:
    try:
        subscriber.writer.write(data)
    except bridgeio.WriteBufferFullError:
        subscriber.writer.abort()  # its handler finds the stream closed, and takes it out of the channels
        return False
    except OSError:  # gone already; its handler hears of that by itself
        return False
    return True


@lru_cache(256)
def glob(pattern: bytes) -> Pattern[str]:
    """As the shell's, and `fnmatch`'s: no backslashes."""
    return compile_pattern(translate(pattern.decode("latin-1")))
