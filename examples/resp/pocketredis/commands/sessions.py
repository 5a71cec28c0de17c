"""Commands about the connection itself, and what redis-cli, redis-benchmark and client libraries ask at the start."""

from __future__ import annotations

from pocketredis.arguments import integer
from pocketredis.errors import CommandError
from pocketredis.replies import OK, Answer
from pocketredis.session import Session
from pocketredis.table import COMMANDS, command

__all__: list[str] = []  # commands are found by their names

SETTINGS = {b"save": b"", b"appendonly": b"no"}  # nothing is written to disk


@command
def ping(session: Session, message: bytes | None = None) -> Answer:
    if session.subscriptions:
        return [b"pong", message or b""]
    return "PONG" if message is None else message


@command
def echo(session: Session, message: bytes) -> Answer:
    return message


@command
def quit_(session: Session) -> Answer:
    session.is_over = True
    return OK


@command
def select(session: Session, index: bytes) -> Answer:
    if integer(index) != 0:
        raise CommandError("ERR DB index is out of range")
    return OK


@command
def auth(session: Session, *credentials: bytes) -> Answer:
    raise CommandError("ERR AUTH called without any password configured: this server has no users")


@command
def hello(session: Session, version: bytes = b"2", *options: bytes) -> Answer:
    if version != b"2":
        raise CommandError("NOPROTO unsupported protocol version")
    return [b"server", b"pocketredis", b"version", b"7.0.0", b"proto", 2, b"mode", b"standalone", b"role", b"master"]


@command
def client(session: Session, subcommand: bytes, *arguments: bytes) -> Answer:
    """Client libraries say who they are."""
    if subcommand.upper() in (b"SETNAME", b"SETINFO"):
        return OK
    raise CommandError(f"ERR unknown subcommand '{subcommand[:64].decode('latin-1')}'")


@command
def command_(session: Session, subcommand: bytes = b"", *arguments: bytes) -> Answer:
    """redis-cli asks for the documentation of all commands; it goes on well without."""
    return len(COMMANDS) if subcommand.upper() == b"COUNT" else []


@command
def config(session: Session, subcommand: bytes, *arguments: bytes) -> Answer:
    if subcommand.upper() != b"GET":
        raise CommandError("ERR only CONFIG GET is here: settings are options of the program")
    asked = {argument.lower() for argument in arguments}
    return [part for name, value in SETTINGS.items() if name in asked for part in (name, value)]


@command
def info(session: Session, *sections: bytes) -> Answer:
    keys = len(session.database.store.values)
    return b"# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n# Keyspace\r\ndb0:keys=%d\r\n" % keys
