"""The codec of the examples' Redis client and server: it never waits, so it needs no backend and no peer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rediswire
from pocketredis.replies import Several
from pocketredis.replies import encode as encode_reply
from pocketredis.requests import Requests

SCALARS = st.one_of(st.none(), st.binary(max_size=40), st.integers(-(2**63), 2**63 - 1), st.text("abc XYZ", max_size=9))
REPLIES = st.recursive(SCALARS, lambda values: st.lists(values, max_size=5), max_leaves=20)
COMMANDS = st.lists(st.binary(max_size=40), min_size=1, max_size=6)

RESP3: list[tuple[bytes, object]] = [
    (b"_\r\n", None),
    (b"#t\r\n", True),
    (b",1.25\r\n", 1.25),
    (b",-inf\r\n", float("-inf")),
    (b"(123456789012345678901234567890\r\n", 123456789012345678901234567890),
    (b"=7\r\ntxt:one\r\n", b"one"),
    (b"~2\r\n+a\r\n+a\r\n", {"a"}),
    (b"~1\r\n*1\r\n:1\r\n", [[1]]),
    (b"%1\r\n+key\r\n%1\r\n:1\r\n*0\r\n", {"key": {1: []}}),
    (b"~1\r\n%0\r\n", [{}]),
    (b"%1\r\n*1\r\n:1\r\n:2\r\n", [([1], 2)]),
    (b"*-1\r\n", None),
    (b"$-1\r\n", None),
]

NONSENSE = [
    (b"hello\r\n", "cannot begin with b'hello'"),
    (b"\r\n", "cannot begin with b''"),
    (b":1_000\r\n", "no integer"),
    (b"$+1\r\n", "no integer"),
    (b"$3\r\nabcde", "followed by something else"),
    (b"$101\r\n", "more than 100 bytes"),
    (b"*101\r\n", "more than 100 bytes"),
    (b"%51\r\n", "more than 100 bytes"),
    (b"*2\r\n$60\r\n" + b"x" * 60 + b"\r\n$60\r\n", "more than 100 bytes"),
    (b"*1\r\n" * 33 + b":1\r\n", "more than 32 deep"),
    (b"+" + b"x" * 70_000, "a line of more than"),
]


def decoded(decoder: Any, data: bytes, cuts: list[int]) -> list[Any]:
    """All that comes out of it when the data comes in pieces."""
    found: list[Any] = []
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        decoder.feed(data[begin:end])
        found += decoder
    return found


@given(st.lists(REPLIES, max_size=4), st.lists(st.integers(0, 10_000), max_size=8))
def test_replies_survive_any_cuts(replies: list[Any], cuts: list[int]) -> None:
    """What the server encodes the client decodes, in whatever pieces it comes."""
    data = b"".join(map(encode_reply, replies))
    assert decoded(rediswire.Decoder(), data, cuts) == replies


@given(st.lists(COMMANDS, max_size=4), st.lists(st.integers(0, 10_000), max_size=8))
def test_requests_survive_any_cuts(commands: list[list[bytes]], cuts: list[int]) -> None:
    """What the client encodes the server decodes."""
    data = b"".join(map(rediswire.encode, commands))
    assert decoded(Requests(), data, cuts) == commands


@pytest.mark.parametrize(("data", "value"), RESP3)
def test_the_newer_types(data: bytes, value: object) -> None:
    """RESP3's types are Python's own, one byte at a time too."""
    assert decoded(rediswire.Decoder(), data, list(range(len(data)))) == [value]


def test_what_was_not_asked_for_is_told_apart() -> None:
    """A push is a list of a kind of its own; an error inside an array is a value there."""
    push, replies = decoded(rediswire.Decoder(), b">1\r\n+message\r\n*2\r\n-ERR no\r\n!6\r\nERR no\r\n", [])
    assert isinstance(push, rediswire.Push)
    assert [type(reply) for reply in replies] == [rediswire.ReplyError] * 2
    assert encode_reply(Several([1, [2]])) == b":1\r\n*1\r\n:2\r\n"


@pytest.mark.parametrize(("data", "words"), NONSENSE)
def test_nonsense_is_told(data: bytes, words: str) -> None:
    """In words, and what is too large before it has come; replies before it are not lost."""
    decoder = rediswire.Decoder(limit=100)
    decoder.feed(b"+OK\r\n" + data)
    replies = iter(decoder)
    assert next(replies) == "OK"
    with pytest.raises(rediswire.ProtocolError, match=words):
        next(replies)


@given(st.binary(max_size=60), st.sampled_from([b"", b"*2\r\n", b"$5\r\n", b"~1\r\n%0\r\n", b"*1\r\n$"]))
def test_bytes_of_no_meaning_are_an_error_and_nothing_worse(data: bytes, beginning: bytes) -> None:
    """Whatever comes is replies, or more is needed, or it is a `ProtocolError`."""
    for decoder in (rediswire.Decoder(), Requests()):
        try:
            decoded(decoder, beginning + data, [])
        except rediswire.ProtocolError:
            pass
