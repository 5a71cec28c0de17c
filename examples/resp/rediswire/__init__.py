"""rediswire: a Redis client for every framework that bridgeio knows.

async with rediswire.Redis("localhost", 6379) as redis:
    await redis.execute("SET", "greeting", "hello", "EX", 60)
    async with redis.subscribe("news") as messages:
        async for message in messages:
            print(message.channel, message.data)

From the bytes upwards: `incoming`, `encoding` and `decoding` know RESP and never wait; `wire` is one connection;
`pipelining` matches many calls with their replies; `client` and `subscription` are what one uses.
"""

from __future__ import annotations

from rediswire.client import Redis
from rediswire.decoding import Decoder, Push, Reply
from rediswire.encoding import Argument, encode
from rediswire.errors import ConnectionLostError, NotConnectedError, ProtocolError, RedisError, ReplyError
from rediswire.subscription import Message, Subscription
from rediswire.wire import Address

__all__ = [
    "Address",
    "Argument",
    "ConnectionLostError",
    "Decoder",
    "Message",
    "NotConnectedError",
    "ProtocolError",
    "Push",
    "Redis",
    "RedisError",
    "Reply",
    "ReplyError",
    "Subscription",
    "encode",
]
