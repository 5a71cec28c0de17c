"""Replies out of bytes: RESP2 and RESP3, without a byte of input or output of its own.

Rule: nothing is looked at twice. A reply may come in any pieces, so what has come is kept as far as it is
understood: the size of the block that is awaited, and the arrays that are not full yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rediswire.errors import ProtocolError, ReplyError
from rediswire.incoming import Incoming

__all__ = ["LIMIT", "NOTHING", "Decoder", "Push", "Reply", "as_integer"]

LIMIT = 64 * 1024 * 1024  # bytes of one reply; the limit of Redis itself is 512 MiB for one string
DEPTH = 32

Reply = Any  # bytes, str, int, float, bool, None, ReplyError, and lists, sets and dicts of these

NOTHING: Any = object()  # no reply is whole yet; None is one


class Push(list[Reply]):
    """What the server says without being asked (RESP3)."""


class Decoder:
    """``feed`` it what has come, and iterate over the replies that are whole by then.

    An error of the server is a `ReplyError`, returned and not raised: it may stand inside an array.

    :param limit: bytes that one reply may have.
    """

    __slots__ = ("_block", "_incoming", "_left", "_limit", "_open")

    def __init__(self, limit: int = LIMIT) -> None:
        self._incoming = Incoming()
        self._limit = limit
        self._left = limit
        self._block: tuple[Callable[[bytes], Reply], int] | None = None
        self._open: list[_Array] = []

    def feed(self, data: bytes) -> None:
        self._incoming.feed(data)

    def __iter__(self) -> Iterator[Reply]:
        """:raises ProtocolError: when it comes to what is no reply; there is no way on from there."""
        while (reply := self._next()) is not NOTHING:
            yield reply

    def _next(self) -> Reply:
        while (value := self._element()) is not NOTHING:
            if isinstance(value, _Array):
                self._open.append(value)
                continue
            while self._open:
                if not self._open[-1].add(value):
                    break
                value = self._open.pop().whole()
            else:
                self._left = self._limit
                return value
        return NOTHING

    def _element(self) -> Reply:
        """A value without values inside, or the beginning of an array that has some."""
        if self._block is not None:
            return self._end_of_block(*self._block)
        line = self._incoming.line()
        if line is None:
            return NOTHING
        self._spend(len(line))
        kind, rest = line[:1], line[1:]
        try:
            if kind in SIMPLE:
                return SIMPLE[kind](rest)
            if kind in BLOCKS:
                return self._begin_block(BLOCKS[kind], as_integer(rest))
            if kind in ARRAYS:
                return self._begin_array(*ARRAYS[kind], as_integer(rest))
        except ValueError as error:
            raise ProtocolError(f"a reply cannot begin with {line[:40]!r}: {error}") from error
        raise ProtocolError(f"a reply cannot begin with {line[:40]!r}")

    def _begin_block(self, make: Callable[[bytes], Reply], size: int) -> Reply:
        if size < 0:
            return None
        self._spend(size)
        self._block = make, size
        return self._end_of_block(make, size)

    def _end_of_block(self, make: Callable[[bytes], Reply], size: int) -> Reply:
        data = self._incoming.block(size)
        if data is None:
            return NOTHING
        self._block = None
        return make(data)

    def _begin_array(self, make: Callable[[list[Reply]], Reply], values_each: int, size: int) -> Reply:
        if size < 0:
            return None
        if size == 0:
            return make([])
        self._spend(size * values_each)  # each takes a byte at least: a size that cannot be true is found at once
        if len(self._open) == DEPTH:
            raise ProtocolError(f"arrays in arrays, more than {DEPTH} deep")
        return _Array(make, size * values_each)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ProtocolError(f"a reply of more than {self._limit} bytes")


class _Array:
    """An array of which some values are still to come."""

    __slots__ = ("_make", "_missing", "_values")

    def __init__(self, make: Callable[[list[Reply]], Reply], missing: int) -> None:
        self._make = make
        self._missing = missing
        self._values: list[Reply] = []

    def add(self, value: Reply) -> bool:
        """Whether it was the last."""
        self._values.append(value)
        return len(self._values) == self._missing

    def whole(self) -> Reply:
        return self._make(self._values)


def as_integer(digits: bytes) -> int:
    """Of what `int` takes, only what Redis sends.

    :raises ValueError: for the rest.
    """
    if not digits.removeprefix(b"-").isdigit():
        raise ValueError("no integer")
    return int(digits)


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _as_bool(data: bytes) -> bool:
    return {b"t": True, b"f": False}[data] if data in (b"t", b"f") else bool(as_integer(data))


def _as_error(data: bytes) -> ReplyError:
    return ReplyError(_as_text(data))


def _as_null(data: bytes) -> None:
    return None


def _verbatim(data: bytes) -> bytes:
    return data[4:]  # after "txt:" or "mkd:"


def _as_set(values: list[Reply]) -> Reply:
    try:
        return set(values)
    except TypeError:  # there are lists or maps among them
        return values


def _as_map(values: list[Reply]) -> Reply:
    pairs = list(zip(values[::2], values[1::2], strict=True))
    try:
        return dict(pairs)
    except TypeError:  # a key is a list or a map
        return pairs


SIMPLE: dict[bytes, Callable[[bytes], Reply]] = {
    b"+": _as_text,
    b"-": _as_error,
    b":": as_integer,
    b"_": _as_null,
    b"#": _as_bool,
    b",": float,
    b"(": as_integer,
}
BLOCKS: dict[bytes, Callable[[bytes], Reply]] = {b"$": bytes, b"=": _verbatim, b"!": _as_error}

# How they are made, and of how many values for each that they count.
ARRAYS: dict[bytes, tuple[Callable[[list[Reply]], Reply], int]] = {
    b"*": (list, 1),
    b"~": (_as_set, 1),
    b">": (Push, 1),
    b"%": (_as_map, 2),
}
