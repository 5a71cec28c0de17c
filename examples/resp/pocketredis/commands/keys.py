"""Keys, whatever they hold: which there are, and when they expire."""

from __future__ import annotations

from collections import deque
from math import ceil

from pocketredis.arguments import integer
from pocketredis.channels import glob
from pocketredis.replies import OK, Answer
from pocketredis.sorted_set import SortedSet
from pocketredis.store import Store
from pocketredis.table import command

__all__: list[str] = []  # commands are found by their names

TYPES = {bytes: "string", deque: "list", set: "set", dict: "hash", SortedSet: "zset"}


@command
def del_(store: Store, key: bytes, *keys: bytes) -> Answer:
    return sum(store.delete(each) for each in (key, *keys))


@command
def exists(store: Store, key: bytes, *keys: bytes) -> Answer:
    return sum(each in store.values for each in (key, *keys))


@command
def type_(store: Store, key: bytes) -> Answer:
    value = store.values.get(key)
    return "none" if value is None else TYPES[type(value)]


@command
def keys(store: Store, pattern: bytes) -> Answer:
    matches = glob(pattern).match
    return [key for key in store.values if matches(key.decode("latin-1"))]


@command
def dbsize(store: Store) -> Answer:
    return len(store.values)


@command
def flushall(store: Store, how: bytes = b"") -> Answer:
    store.clear()
    return OK


@command
def flushdb(store: Store, how: bytes = b"") -> Answer:
    return flushall(store, how)


@command
def expire(store: Store, key: bytes, seconds: bytes) -> Answer:
    return expire_in(store, key, integer(seconds))


@command
def pexpire(store: Store, key: bytes, milliseconds: bytes) -> Answer:
    return expire_in(store, key, integer(milliseconds) / 1000)


def expire_in(store: Store, key: bytes, seconds: float) -> Answer:
    if key not in store.values:
        return 0
    if seconds <= 0:
        store.delete(key)
    else:
        store.deadlines.set(key, store.now + seconds)
    return 1


@command
def ttl(store: Store, key: bytes) -> Answer:
    return time_left(store, key, 1)


@command
def pttl(store: Store, key: bytes) -> Answer:
    return time_left(store, key, 1000)


def time_left(store: Store, key: bytes, scale: int) -> Answer:
    if key not in store.values:
        return -2
    when = store.deadlines.get(key)
    return -1 if when is None else ceil((when - store.now) * scale)


@command
def persist(store: Store, key: bytes) -> Answer:
    return int(store.deadlines.drop(key))
