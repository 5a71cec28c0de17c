"""Hashes: fields and their values under one key."""

from __future__ import annotations

from pocketredis.errors import CommandError
from pocketredis.replies import Answer
from pocketredis.store import Store
from pocketredis.table import command

__all__: list[str] = []  # commands are found by their names


@command
def hset(store: Store, key: bytes, field: bytes, value: bytes, *more: bytes) -> Answer:
    if len(more) % 2:
        raise CommandError("ERR wrong number of arguments for 'hset' command")
    fields: dict[bytes, bytes] = store.get_or_make(key, dict)
    before = len(fields)
    fields.update(zip((field, *more[::2]), (value, *more[1::2]), strict=True))
    return len(fields) - before


@command
def hget(store: Store, key: bytes, field: bytes) -> Answer:
    fields: dict[bytes, bytes] = store.get(key, dict) or {}
    return fields.get(field)


@command
def hgetall(store: Store, key: bytes) -> Answer:
    fields: dict[bytes, bytes] = store.get(key, dict) or {}
    return [part for pair in fields.items() for part in pair]


@command
def hdel(store: Store, key: bytes, field: bytes, *more: bytes) -> Answer:
    fields: dict[bytes, bytes] = store.get(key, dict) or {}
    removed = sum(fields.pop(each, None) is not None for each in (field, *more))
    store.drop_if_empty(key)
    return removed


@command
def hlen(store: Store, key: bytes) -> Answer:
    return len(store.get(key, dict) or ())
