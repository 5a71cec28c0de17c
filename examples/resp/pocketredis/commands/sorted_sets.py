"""Sorted sets."""

from __future__ import annotations

from pocketredis.arguments import integer, number
from pocketredis.errors import CommandError, syntax_error
from pocketredis.replies import Answer
from pocketredis.sorted_set import SortedSet
from pocketredis.store import Store
from pocketredis.table import command

__all__: list[str] = []  # commands are found by their names

EMPTY = SortedSet()


@command
def zadd(store: Store, key: bytes, score: bytes, member: bytes, *more: bytes) -> Answer:
    if len(more) % 2:
        raise syntax_error()
    scores = [number(each) for each in (score, *more[::2])]
    values = store.get_or_make(key, SortedSet)
    return sum(values.set(each, new) for each, new in zip((member, *more[1::2]), scores, strict=True))


@command
def zrem(store: Store, key: bytes, member: bytes, *members: bytes) -> Answer:
    values = store.get(key, SortedSet) or EMPTY
    removed = sum(values.remove(each) for each in (member, *members))
    store.drop_if_empty(key)
    return removed


@command
def zscore(store: Store, key: bytes, member: bytes) -> Answer:
    return (store.get(key, SortedSet) or EMPTY).scores.get(member)


@command
def zcard(store: Store, key: bytes) -> Answer:
    return len(store.get(key, SortedSet) or EMPTY)


@command
def zrange(store: Store, key: bytes, start: bytes, stop: bytes, option: bytes = b"") -> Answer:
    """By rank; WITHSCORES is the only option."""
    if option.upper() not in (b"", b"WITHSCORES"):
        raise syntax_error()
    values = store.get(key, SortedSet) or EMPTY
    chosen = values.order[integer(start) : integer(stop) + 1 or None]
    return [part for score, member in chosen for part in ((member, score) if option else (member,))]


@command
def zpopmin(store: Store, key: bytes, count: bytes = b"1") -> Answer:
    wanted = integer(count)
    if wanted < 0:
        raise CommandError("ERR value is out of range, must be positive")
    values = store.get(key, SortedSet) or EMPTY
    taken = [values.pop_lowest() for _ in range(min(wanted, len(values)))]
    store.drop_if_empty(key)
    return [part for score, member in taken for part in (member, score)]
