"""Publish and subscribe."""

from __future__ import annotations

from pocketredis.errors import CommandError
from pocketredis.replies import Answer, Several
from pocketredis.session import Session
from pocketredis.table import command

__all__: list[str] = []  # commands are found by their names


@command
def publish(session: Session, channel: bytes, message: bytes) -> Answer:
    return session.database.channels.publish(channel, message)


@command
def pubsub(session: Session, subcommand: bytes, *channels: bytes) -> Answer:
    if subcommand.upper() != b"NUMSUB":
        raise CommandError("ERR only PUBSUB NUMSUB is here")
    return [part for name in channels for part in (name, session.database.channels.count(name))]


@command
def subscribe(session: Session, channel: bytes, *channels: bytes) -> Answer:
    return add(session, b"subscribe", (channel, *channels), pattern=False)


@command
def psubscribe(session: Session, pattern: bytes, *patterns: bytes) -> Answer:
    return add(session, b"psubscribe", (pattern, *patterns), pattern=True)


@command
def unsubscribe(session: Session, *channels: bytes) -> Answer:
    return remove(session, b"unsubscribe", channels, pattern=False)


@command
def punsubscribe(session: Session, *patterns: bytes) -> Answer:
    return remove(session, b"punsubscribe", patterns, pattern=True)


def add(session: Session, verb: bytes, names: tuple[bytes, ...], *, pattern: bool) -> Answer:
    replies = Several()
    for name in names:
        session.subscribe(name, pattern=pattern)
        replies.append([verb, name, len(session.subscriptions)])
    return replies


def remove(session: Session, verb: bytes, names: tuple[bytes, ...], *, pattern: bool) -> Answer:
    replies = Several()
    for name in names or [name for name, kind in session.subscriptions if kind is pattern]:
        session.unsubscribe(name, pattern=pattern)
        replies.append([verb, name, len(session.subscriptions)])
    return replies or [verb, None, len(session.subscriptions)]
