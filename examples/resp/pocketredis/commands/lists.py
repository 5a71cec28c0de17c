"""Lists: cheap at both ends."""

from __future__ import annotations

from collections import deque
from itertools import islice

from pocketredis.arguments import integer
from pocketredis.errors import CommandError
from pocketredis.replies import NO_ARRAY, Answer
from pocketredis.store import Store
from pocketredis.table import command

__all__: list[str] = []  # commands are found by their names


@command
def lpush(store: Store, key: bytes, value: bytes, *values: bytes) -> Answer:
    items: deque[bytes] = store.get_or_make(key, deque)
    items.extendleft((value, *values))
    return len(items)


@command
def rpush(store: Store, key: bytes, value: bytes, *values: bytes) -> Answer:
    items: deque[bytes] = store.get_or_make(key, deque)
    items.extend((value, *values))
    return len(items)


@command
def lpop(store: Store, key: bytes, count: bytes | None = None) -> Answer:
    return pop(store, key, count, left=True)


@command
def rpop(store: Store, key: bytes, count: bytes | None = None) -> Answer:
    return pop(store, key, count, left=False)


def pop(store: Store, key: bytes, count: bytes | None, *, left: bool) -> Answer:
    wanted = 1 if count is None else integer(count)
    if wanted < 0:
        raise CommandError("ERR value is out of range, must be positive")
    items: deque[bytes] | None = store.get(key, deque)
    if items is None:
        return None if count is None else NO_ARRAY
    take = items.popleft if left else items.pop
    taken: list[Answer] = [take() for _ in range(min(wanted, len(items)))]
    store.drop_if_empty(key)
    return taken[0] if count is None else taken


@command
def llen(store: Store, key: bytes) -> Answer:
    return len(store.get(key, deque) or ())


@command
def lrange(store: Store, key: bytes, start: bytes, stop: bytes) -> Answer:
    items: deque[bytes] = store.get(key, deque) or deque()
    first, last, _ = slice(integer(start), integer(stop) + 1 or None).indices(len(items))
    return list(islice(items, first, last))


@command
def lindex(store: Store, key: bytes, index: bytes) -> Answer:
    items: deque[bytes] = store.get(key, deque) or deque()
    place = integer(index)
    return items[place] if -len(items) <= place < len(items) else None
