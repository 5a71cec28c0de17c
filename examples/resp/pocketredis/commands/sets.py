"""Sets. SPOP takes any member, not one that was drawn by lot."""

from __future__ import annotations

from pocketredis.replies import Answer
from pocketredis.store import Store
from pocketredis.table import command

__all__: list[str] = []  # commands are found by their names


@command
def sadd(store: Store, key: bytes, member: bytes, *members: bytes) -> Answer:
    values: set[bytes] = store.get_or_make(key, set)
    before = len(values)
    values.update((member, *members))
    return len(values) - before


@command
def srem(store: Store, key: bytes, member: bytes, *members: bytes) -> Answer:
    values: set[bytes] = store.get(key, set) or set()
    before = len(values)
    values.difference_update((member, *members))
    store.drop_if_empty(key)
    return before - len(values)


@command
def smembers(store: Store, key: bytes) -> Answer:
    return list(store.get(key, set) or ())


@command
def sismember(store: Store, key: bytes, member: bytes) -> Answer:
    return int(member in (store.get(key, set) or ()))


@command
def scard(store: Store, key: bytes) -> Answer:
    return len(store.get(key, set) or ())


@command
def spop(store: Store, key: bytes) -> Answer:
    values: set[bytes] | None = store.get(key, set)
    if values is None:
        return None
    member = values.pop()
    store.drop_if_empty(key)
    return member
