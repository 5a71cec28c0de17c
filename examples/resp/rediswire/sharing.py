"""What must not be sent over a connection that serves many tasks, and what to do instead."""

from __future__ import annotations

from collections.abc import Container, Sequence

from rediswire.encoding import Argument

__all__ = ["TRANSACTION", "check_shared"]

ALONE = "it needs a connection of its own"

NOT_SHARED = {
    "AUTH": "give username= and password= to Redis()",
    "CLIENT REPLY": "answers would be missing, and everybody get somebody else's",
    "HELLO": "give protocol= to Redis()",
    "MONITOR": ALONE,
    "MULTI": "give the whole transaction, MULTI to EXEC, to pipeline()",
    "PSUBSCRIBE": "use subscribe(patterns=...)",
    "PSYNC": ALONE,
    "PUNSUBSCRIBE": "use the unsubscribe() of a subscription",
    "QUIT": "leave the block of Redis()",
    "RESET": "it would forget the user and the database",
    "SELECT": "give database= to Redis()",
    "SSUBSCRIBE": ALONE,
    "SUBSCRIBE": "use subscribe()",
    "SUNSUBSCRIBE": ALONE,
    "SYNC": ALONE,
    "UNSUBSCRIBE": "use the unsubscribe() of a subscription",
    "WATCH": "other tasks' commands would come in between; use a script",
}
TRANSACTION = {"MULTI"}


def check_shared(command: Sequence[Argument], allowed: Container[str] = ()) -> None:
    """:raises ValueError: for what one task must not do to a connection that is everybody's."""
    words = [as_text(word).upper() for word in command[:2]]
    for name in (*words[:1], " ".join(words)):
        if name in NOT_SHARED and name not in allowed:
            raise ValueError(f"{name} would change the connection for every task: {NOT_SHARED[name]}")


def as_text(word: Argument) -> str:
    return word.decode("latin-1") if isinstance(word, bytes) else str(word)
