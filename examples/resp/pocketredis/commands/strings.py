"""Strings, and the numbers that they may stand for."""

from __future__ import annotations

from pocketredis.arguments import fits, integer
from pocketredis.errors import CommandError, syntax_error
from pocketredis.replies import OK, Answer
from pocketredis.store import Store
from pocketredis.table import command

__all__: list[str] = []  # commands are found by their names


@command
def get(store: Store, key: bytes) -> Answer:
    return store.get(key, bytes)


@command
def set_(store: Store, key: bytes, value: bytes, *options: bytes) -> Answer:
    words = [option.upper() for option in options]
    seconds = take_seconds(words)
    if words not in ([], [b"NX"], [b"XX"]):
        raise syntax_error()
    if words and (key in store.values) != (words == [b"XX"]):
        return None
    store.set(key, value)
    if seconds is not None:
        store.deadlines.set(key, store.now + seconds)
    return OK


def take_seconds(words: list[bytes]) -> float | None:
    """What ``EX seconds`` or ``PX milliseconds`` says; these two words are taken out."""
    for unit, scale in ((b"EX", 1.0), (b"PX", 0.001)):
        if unit in words[:-1]:
            place = words.index(unit)
            value = integer(words[place + 1])
            if value <= 0:
                raise CommandError("ERR invalid expire time in 'set' command")
            del words[place : place + 2]
            return value * scale
    return None


@command
def mget(store: Store, key: bytes, *keys: bytes) -> Answer:
    values = (store.values.get(each) for each in (key, *keys))
    return [value if isinstance(value, bytes) else None for value in values]


@command
def mset(store: Store, key: bytes, value: bytes, *more: bytes) -> Answer:
    if len(more) % 2:
        raise CommandError("ERR wrong number of arguments for 'mset' command")
    for each, new in zip((key, *more[::2]), (value, *more[1::2]), strict=True):
        store.set(each, new)
    return OK


@command
def append(store: Store, key: bytes, value: bytes) -> Answer:
    longer = (store.get(key, bytes) or b"") + value
    store.values[key] = longer
    return len(longer)


@command
def strlen(store: Store, key: bytes) -> Answer:
    return len(store.get(key, bytes) or b"")


@command
def incrby(store: Store, key: bytes, change: bytes) -> Answer:
    value = integer(store.get(key, bytes) or b"0") + integer(change)
    if not fits(value):
        raise CommandError("ERR increment or decrement would overflow")
    store.values[key] = b"%d" % value
    return value


@command
def incr(store: Store, key: bytes) -> Answer:
    return incrby(store, key, b"1")


@command
def decr(store: Store, key: bytes) -> Answer:
    return incrby(store, key, b"-1")


@command
def decrby(store: Store, key: bytes, change: bytes) -> Answer:
    return incrby(store, key, b"%d" % -integer(change))
