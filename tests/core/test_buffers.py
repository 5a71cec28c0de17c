"""Buffers: bytes come out as they went in, and are moved a bounded number of times."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from bridgeio.buffers import Bytes, ReceiveBuffer, SealedBuffer, SendBuffer, send_in_pieces
from bridgeio.limits import LINES_AT_ONCE, SEND_FIRST


def test_what_goes_in_comes_out() -> None:
    """Taking, filling and discarding in any order and size gives the bytes of the stream in order."""
    random = Random(7)
    stream = random.randbytes(100_000)
    buffer, taken, put = ReceiveBuffer(), bytearray(), 0
    while len(taken) < len(stream):
        if put < len(stream) and random.random() < 0.5:
            size = random.randrange(1, 3000)
            buffer.append(stream[put : put + size])
            put = min(put + size, len(stream))
        size = random.randrange(0, 2000)
        how = random.randrange(3)
        if how == 0:
            taken += buffer.take(size)
        elif how == 1:
            target = bytearray(size)
            taken += target[: buffer.take_into(memoryview(target))]
        else:
            skipped = min(size, buffer.size)
            taken += stream[len(taken) : len(taken) + skipped]
            buffer.discard(size)
        assert buffer.size == put - len(taken)
    assert taken == stream


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"abcabd"])
def test_a_separator_is_found_where_it_is(separator: bytes) -> None:
    """``find`` gives what ``bytes.find`` gives, whatever was searched, taken and appended before."""
    random = Random(11)
    buffer, rest = ReceiveBuffer(), b""
    for _ in range(3000):
        data = bytes(random.choices(separator + b"x", k=random.randrange(1, 8)))
        buffer.append(data)
        rest += data
        assert buffer.find(separator) == rest.find(separator)
        if random.random() < 0.3:
            count = random.randrange(0, 12)
            assert buffer.take(count) == rest[:count]
            rest = rest[count:]


def test_another_separator_begins_anew() -> None:
    """What one separator was not found in is searched again for the next."""
    buffer = ReceiveBuffer()
    buffer.append(b"one;two\n")
    assert buffer.find(b"!") == -1
    assert buffer.find(b";") == 3
    assert buffer.find(b"\n") == 7


def test_a_failed_search_is_not_repeated() -> None:
    """Searching through data that trickles in looks at each byte about once."""
    looked = [0]

    class Counting(bytearray):
        def find(self, wanted: Any, start: Any = 0, *rest: Any) -> int:
            looked[0] += len(self) - start
            return super().find(wanted, start, *rest)

    buffer = _buffer_on(Counting)
    for _ in range(10_000):
        buffer.append(b"0123456789")
        assert buffer.find(b"\r\n") == -1
    assert looked[0] <= 2 * 100_000


def test_taking_single_bytes_moves_little() -> None:
    """Taking a buffer apart byte by byte moves at most as many bytes as it held."""
    moved = [0]

    class Counting(bytearray):
        def __delitem__(self, index: Any) -> None:
            super().__delitem__(index)
            moved[0] += len(self)

    buffer = _buffer_on(Counting)
    for size in (60_000, 40_000):
        buffer.append(bytes(size))
    for _ in range(100_000):
        assert buffer.take(1) == b"\0"
    assert 0 < moved[0] <= 100_000


def test_what_comes_to_an_empty_buffer_is_not_copied() -> None:
    """Nor when it is taken whole: a chunk that is one message is handed on as it came."""
    buffer, message = ReceiveBuffer(), b"a whole message\n"
    buffer.append(message)
    assert buffer.take_until(b"\n", 100) is message


@pytest.mark.parametrize("pieces", [[b"ab\r\ncd\r\n"], [b"ab\r\nc", b"d\r", b"\n"], [bytearray(b"ab\r\ncd\r\n")]])
def test_taking_up_to_a_separator(pieces: list[bytes]) -> None:
    """However the bytes came: a message each, nothing past the limit, and nothing that is not whole."""
    buffer = ReceiveBuffer()
    for piece in pieces:
        buffer.append(piece)
    assert buffer.take_until(b"\r\n", 1) is None
    assert buffer.take_until(b"\r\n", 2) == b"ab\r\n"
    assert buffer.take_until(b"!", 100) is None
    taken = buffer.take_until(b"\r\n", 100)
    assert (taken, type(taken), buffer.size) == (b"cd\r\n", bytes, 0)
    assert buffer.take_until(b"\r\n", 100) is None


def test_whole_lines() -> None:
    """Those that begin at the next byte, within the limit, and not all of many; taking them is another step."""
    buffer = ReceiveBuffer()
    assert buffer.whole_lines(100) is None
    buffer.append(b"one\ntwo\nrest")
    for _ in range(2):
        lines = buffer.whole_lines(100)
        assert lines is not None
        assert lines.readlines() == [b"one\n", b"two\n"]
    buffer.discard(4)
    lines = buffer.whole_lines(6)
    assert lines is not None
    assert lines.read() == b"two\n"
    assert buffer.whole_lines(3) is None
    assert buffer.take(100) == b"two\nrest"
    buffer.append(b"x\n" * 100_000)
    lines = buffer.whole_lines(1_000_000)
    assert lines is not None
    assert len(lines.read()) == LINES_AT_ONCE


def _buffer_on(storage: type[bytearray]) -> ReceiveBuffer:
    buffer = type("Counted", (ReceiveBuffer,), {"storage": storage, "__slots__": ()})()
    assert isinstance(buffer, ReceiveBuffer)
    return buffer


def test_a_send_buffer_forgets_what_was_sent() -> None:
    """However the kernel cuts what it takes, the rest is offered next, once and in order."""
    random = Random(13)
    stream = random.randbytes(50_000)
    buffer, sent, put = SendBuffer(), bytearray(), 0
    while len(sent) < len(stream):
        size = random.randrange(1, 2000)
        buffer.append(stream[put : put + size])
        put = min(put + size, len(stream))
        offered = b"".join(buffer.first())
        taken = random.randrange(0, len(offered) + 1)
        sent += offered[:taken]
        buffer.sent(taken)
        assert buffer.size == put - len(sent)
    assert sent == stream


def test_a_send_buffer_keeps_a_copy() -> None:
    """The caller may change what it passed."""
    buffer, mine = SendBuffer(), bytearray(b"mine")
    buffer.append(mine)
    mine[:] = b"...."
    assert [bytes(view) for view in buffer.first()] == [b"mine"]


def test_a_chunk_that_was_sent_in_part_is_kept_without_a_copy() -> None:
    """Bytes stay as they are; of what the caller may change, just the rest is copied."""
    buffer, chunk = SendBuffer(), b"0123456789"
    buffer.append(chunk, 4)
    buffer.append(memoryview(bytearray(b"abc")))
    first, second = buffer.first()
    assert first.obj is chunk
    assert (bytes(first), bytes(second), buffer.size) == (b"456789", b"abc", 9)
    buffer.sent(7)
    assert (bytes(buffer.first()[0]), buffer.size) == (b"bc", 2)
    changing = SendBuffer()
    changing.append(memoryview(mine := bytearray(b"0123")), 3)
    mine[:] = b"...."
    assert (bytes(changing.first()[0]), changing.size) == (b"3", 1)


def test_one_send_has_a_bounded_number_of_pieces() -> None:
    """The kernel refuses more than a certain number of pieces at once."""
    buffer = SendBuffer()
    for _ in range(5000):
        buffer.append(b"x")
    assert 0 < len(buffer.first()) <= 1024


def test_one_send_has_a_bounded_number_of_bytes() -> None:
    """The next so many, from wherever the kernel stopped, and not one more."""
    stream = Random(14).randbytes(3000)
    buffer = SendBuffer()
    for start in range(0, 3000, 1000):
        buffer.append(stream[start : start + 1000])
    buffer.sent(300)
    assert b"".join(buffer.first(1)) == stream[300:301]
    assert b"".join(buffer.first(700)) == stream[300:1000]
    assert b"".join(buffer.first(1900)) == stream[300:2200]
    assert b"".join(buffer.first()) == stream[300:]


class Kernel:
    """Takes so many bytes, and then none."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = bytearray()
        self.offered: list[int] = []

    def send(self, data: Bytes) -> int:
        self.offered.append(len(data))
        if not self.room:
            raise BlockingIOError
        count = min(len(data), self.room)
        self.room -= count
        self.taken += data[:count]
        return count


@pytest.mark.parametrize("room", [0, 1, SEND_FIRST, SEND_FIRST + 1, 3 * SEND_FIRST, 8 * SEND_FIRST])
def test_many_bytes_are_sent_in_pieces_as_long_as_they_are_taken(room: int) -> None:
    """From the first on, in order; a piece that is taken in part, or not at all, is the last."""
    stream = Random(15).randbytes(6 * SEND_FIRST)
    kernel = Kernel(room)
    assert send_in_pieces(kernel.send, stream) == min(room, len(stream))
    assert kernel.taken == stream[:room]
    assert kernel.offered == [SEND_FIRST, 2 * SEND_FIRST, 3 * SEND_FIRST][: len(kernel.offered)]
    assert len(kernel.offered) == {0: 1, 1: 1, SEND_FIRST: 2, SEND_FIRST + 1: 2}.get(room, 3)


def test_a_cleared_send_buffer_is_empty() -> None:
    """After ``clear`` nothing is offered, also when a piece was half sent."""
    buffer = SendBuffer()
    buffer.append(b"abc")
    buffer.sent(1)
    buffer.clear()
    assert (buffer.size, buffer.first()) == (0, [])
    buffer.append(b"new")
    assert bytes(buffer.first()[0]) == b"new"


def test_a_sealed_buffer_leaves_what_came_before_as_it_is() -> None:
    """What was left unsealed goes out first and unchanged, also what was sent in part; what comes later is sealed."""
    plain = SendBuffer()
    plain.append(b"before")
    plain.append(b" that")
    plain.sent(3)
    sealed = SealedBuffer(lambda data: bytes(data).upper(), plain)
    sealed.append(b" after")
    assert b"".join(sealed.first()) == b"ore that AFTER"
    assert (sealed.size, plain.size) == (14, 0)
