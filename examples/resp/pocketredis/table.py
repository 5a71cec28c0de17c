"""How a Python function becomes a command: its name is the command's, its parameters are the arguments.

So there is no table of arities to keep in step with the functions, and a wrong number of arguments is one error
in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from math import inf
from typing import TypeVar

from pocketredis.errors import CommandError
from pocketredis.replies import Answer

__all__ = ["COMMANDS", "Command", "command", "find"]

Function = Callable[..., Answer]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True, slots=True)
class Command:
    """:ivar least: how many arguments it needs at least.
    :ivar most: how many it takes.
    :ivar on_session: it is about the connection, and gets the session; all others get the store.
    """

    function: Function
    least: int
    most: float
    on_session: bool


COMMANDS: dict[bytes, Command] = {}


def command(function: F) -> F:
    """Registers it. A trailing underscore is for names that Python has taken, and no part of the command."""
    first, *rest = signature(function).parameters.values()
    least = sum(
        parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_POSITIONAL for parameter in rest
    )
    most = inf if any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in rest) else len(rest)
    name = function.__name__.rstrip("_").upper().encode()
    COMMANDS[name] = Command(function, least, most, first.name == "session")
    return function


def find(request: list[bytes]) -> Command:
    """:raises CommandError: if there is none, or it does not take so many arguments."""
    found = COMMANDS.get(request[0].upper())
    name = request[0][:64].decode("latin-1")
    if found is None:
        raise CommandError(f"ERR unknown command '{name}'")
    if not found.least <= len(request) - 1 <= found.most:
        raise CommandError(f"ERR wrong number of arguments for '{name.lower()}' command")
    return found
