"""TLS records, cut anywhere by the network and read in any portions, from the `ssl` module at the other end."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from itertools import cycle
from typing import Any

from hypothesis import example, given, seed, settings
from hypothesis import strategies as st

import bridgeio
from bridgeio.buffers import Receive
from bridgeio.reader import Reader
from bridgeio.testing.tls_peers import NAME, client_context, only, server_context
from bridgeio.tls import new_layer

VERSIONS = st.sampled_from(["1.2", "1.3"])
RECORDS = st.lists(st.binary(min_size=1, max_size=9000), max_size=8)
CUTS = st.lists(st.integers(1, 12_000), min_size=1, max_size=20)
READS = st.lists(st.sampled_from([1, 7, 64, 4096, 5000, 1 << 16]), min_size=1, max_size=12)
EARLY = st.lists(st.booleans(), min_size=1, max_size=12)


class Wire:
    """A source that behaves as the kernel does: bytes come in pieces, when a reader waits or before.

    :ivar pieces: what is still to come.
    :ivar delivered: how many bytes have come.
    :ivar about_to_wait: called when a reader has nothing to do until the next piece.
    """

    exhaust = False
    peer: object = "the other end"

    def __init__(self, about_to_wait: Callable[[], object]) -> None:
        self.recv: Receive = self._recv
        self.readable = False
        self.pieces: deque[bytes] = deque()
        self.delivered = 0
        self.about_to_wait = about_to_wait
        self._here = b""
        self._over = False

    def deliver(self) -> None:
        """The next piece, or the end."""
        self._over = not self.pieces
        piece = b"" if self._over else self.pieces.popleft()
        self._here += piece
        self.delivered += len(piece)
        self.readable = True

    def nothing_now(self) -> None:
        self.readable = False

    def wait_readable(self, task: object) -> Delivery:
        self.about_to_wait()
        return Delivery(self)

    def _recv(self, most: int, /) -> bytes:
        if not self._here and not self._over:
            raise BlockingIOError
        data, self._here = self._here[:most], self._here[most:]
        return data


class Delivery:
    """A wait that ends when the next piece is there."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __await__(self) -> Generator[None, None, None]:
        self._wire.deliver()
        yield from ()


class OtherEnd:
    """TLS of the `ssl` module, without a network."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.say = self._outgoing.read
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, None if server_side else NAME)

    def hear(self, data: bytes) -> None:
        self._incoming.write(data)

    def shake_hands(self) -> bytes:
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.say()


@seed(1)
@settings(max_examples=300, database=None, deadline=None)
@example("1.2", False, [b"12"], [1], [7], [False])  # OpenSSL has the record but for the last byte
@given(VERSIONS, st.booleans(), RECORDS, CUTS, READS, EARLY)
def test_records_cut_anywhere(
    version: str, server_side: bool, records: list[bytes], cuts: list[int], reads: list[int], early: list[bool]
) -> None:
    """Every byte is read, in order, and nobody waits for the network while a whole record has come."""
    contexts = [only(client_context(), version), only(server_context(), version)]
    mine, others = contexts[server_side], contexts[not server_side]

    async def main() -> None:
        other = OtherEnd(others, server_side=not server_side)
        wire = Wire(lambda: wire.pieces.append(other.shake_hands()))
        options: Any = {"server_hostname": None if server_side else NAME, "session": None, "strict": True}
        layer = new_layer(wire, None, mine, server_side=server_side, **options)
        layer.emit = other.hear
        await layer.shake_hands(b"", 10)

        sealed, whole = other.shake_hands(), {0: 0}
        before = wire.delivered
        for number, record in enumerate(records):
            other.tls.write(record)
            sealed += other.say()
            whole[len(sealed)] = sum(map(len, records[: number + 1]))
        with suppress(ssl.SSLWantReadError):
            other.tls.unwrap()
        wire.pieces.extend(pieces(sealed + other.say(), cuts))

        received = bytearray()

        def nothing_is_left() -> None:
            there = max(plain for end, plain in whole.items() if end <= wire.delivered - before)
            assert len(received) == there

        wire.about_to_wait = nothing_is_left
        reader = Reader(layer)
        for size, unasked in zip(cycle(reads), cycle(early), strict=False):
            if unasked and wire.pieces:
                wire.deliver()
            data = await reader.read(size)
            received += data
            if not data:
                break
        assert bytes(received) == b"".join(records)

    bridgeio.run(main, backend="threads")


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found: list[bytes] = []
    for size in cycle(sizes):
        if not data:
            return found
        found.append(data[:size])
        data = data[size:]
    return found
