"""Commands as bytes: an array of byte strings, whatever the server's version."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Argument", "encode"]

Argument = bytes | str | int | float


def encode(command: Sequence[Argument]) -> bytes:
    """
    :raises TypeError: for an argument that has no bytes of its own, such as ``None`` or a list.
    :raises ValueError: for no argument at all.
    """
    if not command:
        raise ValueError("an empty command: its name is missing")
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        data = as_bytes(argument)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def as_bytes(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, str):
        return argument.encode()
    if type(argument) in (int, float):  # True is an int to Python, and nothing to Redis
        return repr(argument).encode()
    raise TypeError(f"Redis takes bytes, text and numbers, not {type(argument).__name__}: say how it is to be stored")
