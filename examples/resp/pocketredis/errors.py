"""What a command answers when it cannot do what it was asked; the words are Redis's own, as clients know them."""

from __future__ import annotations

__all__ = ["CommandError", "not_an_integer", "syntax_error", "wrong_type"]


class CommandError(Exception):
    """Becomes an error reply; the connection goes on."""


def syntax_error() -> CommandError:
    return CommandError("ERR syntax error")


def not_an_integer() -> CommandError:
    return CommandError("ERR value is not an integer or out of range")


def wrong_type() -> CommandError:
    return CommandError("WRONGTYPE Operation against a key holding the wrong kind of value")
