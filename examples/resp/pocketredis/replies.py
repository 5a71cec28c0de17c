"""Answers as bytes. What a command returns says how: str is a status, bytes are a string, None is nothing."""

from __future__ import annotations

from pocketredis.errors import CommandError

__all__ = ["NO_ARRAY", "OK", "Answer", "Several", "encode"]

Answer = str | bytes | int | float | list["Answer"] | CommandError | tuple[()] | None

OK = "OK"
NO_ARRAY = ()  # where RESP2 tells an array that is not there from a string that is not there


class Several(list["Answer"]):
    """More than one reply to one request: one for each channel that was asked for."""


def encode(answer: Answer) -> bytes:
    match answer:
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(answer), answer)
        case str():
            return b"+%b\r\n" % answer.encode()
        case int():
            return b":%d\r\n" % answer
        case None:
            return b"$-1\r\n"
        case Several():
            return b"".join(map(encode, answer))
        case list():
            return b"*%d\r\n" % len(answer) + b"".join(map(encode, answer))
        case float():
            return encode(b"%.17g" % answer)
        case CommandError():
            return b"-%b\r\n" % str(answer).replace("\r", " ").replace("\n", " ").encode()
        case ():
            return b"*-1\r\n"
    raise TypeError(f"no reply can be made of {answer!r}")
