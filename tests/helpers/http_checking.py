"""A client that holds an HTTP server to its word: plain blocking sockets, threads, and a parser of its own.

The word is: a request that was sent whole on an established connection gets a whole response, or the client was told
before it by a ``Connection: close`` that it will get none.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle

from programs import PATIENCE

__all__ = ["GET", "NUMBERS", "POST", "Answer", "BrokenPromiseError", "Caller", "Request", "visiting"]


@dataclass(frozen=True, slots=True)
class Request:
    """
    :ivar expected: the body of its answer.
    """

    data: bytes
    expected: bytes


GET = Request(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", b"hello, world\n")
POST = Request(
    b"POST /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n",
    b"8 bytes\n",
)
NUMBERS = Request(
    b"GET /numbers/30000 HTTP/1.1\r\nHost: test\r\n\r\n", b"".join(b"%d\n" % number for number in range(1, 30001))
)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    :ivar closes: whether it said ``Connection: close``.
    """

    status: int
    closes: bool
    body: bytes


class BrokenPromiseError(AssertionError):
    """What the server must not do."""


class Caller:
    """One connection. ``told`` once the server has said that it closes: then nothing more is promised."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.told = False
        self._stream = self.sock.makefile("rb")
        self._answers = 0

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()
        self.sock.close()

    def ask(self, request: Request) -> Answer | None:
        """``None`` if the request was not sent whole, or not on an established connection."""
        try:
            self.sock.sendall(request.data)
        except ConnectionError:
            return None
        return self.answer(request)

    def answer(self, request: Request) -> Answer | None:
        """The answer to a request that was sent whole.

        :raises BrokenPromiseError: if it is none, or a wrong one.
        """
        try:
            answer = self._read()
        except (OSError, EOFError) as error:
            if not self._answers and self._acknowledged() < len(request.data):
                return None  # the server's system never had the connection
            raise BrokenPromiseError(f"after {self._answers} answers: {error!r} instead of one more") from error
        self._answers += 1
        self.told = answer.closes
        if answer.status == 408 and answer.closes:
            return answer  # "I have not done it": the client may repeat it elsewhere
        if (answer.status, answer.body) != (200, request.expected):
            raise BrokenPromiseError(f"{request.data[:20]!r} was answered by {answer.status} {answer.body[:80]!r}")
        return answer

    def last_words(self) -> Answer:
        """What the server says by itself to a client that says no more, before it hangs up.

        :raises BrokenPromiseError: if it hangs up without.
        """
        try:
            answer = self._read()
            rest = self._stream.read(1)
        except (OSError, EOFError) as error:
            raise BrokenPromiseError(f"an idle client was met by {error!r}, without a word") from error
        if not answer.closes or rest:
            raise BrokenPromiseError(f"the last words are {answer}, and {rest!r} comes after them")
        return answer

    def _read(self) -> Answer:
        _, status, *_ = self._line().split(b" ")
        headers = {}
        while line := self._line():
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        return Answer(int(status), headers.get(b"connection") == b"close", self._body(headers))

    def _body(self, headers: dict[bytes, bytes]) -> bytes:
        if headers.get(b"transfer-encoding") != b"chunked":
            return self._exactly(int(headers[b"content-length"]))
        parts = []
        while size := int(self._line(), 16):
            parts.append(self._exactly(size))
            self._line()
        self._line()
        return b"".join(parts)

    def _line(self) -> bytes:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError(f"the stream ended after {line!r}")
        return line[:-2]

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) < size:
            raise EOFError(f"the stream ended after {len(data)} bytes of {size}")
        return data

    def _acknowledged(self) -> int:
        """How many bytes the server's system has confirmed: those that came on a connection which it holds."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
        (acknowledged,) = struct.unpack_from("=Q", info, _BYTES_ACKED)
        return int(acknowledged) - 1  # the handshake counts for one


_BYTES_ACKED = 120  # struct tcp_info's tcpi_bytes_acked, include/uapi/linux/tcp.h


@dataclass(slots=True)
class Visits:
    """What some threads that come again and again have seen."""

    broken: list[str] = field(default_factory=list)
    answers: int = 0
    told: int = 0
    _progress: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, reached: Callable[[Visits], bool]) -> None:
        with self._progress:
            assert self._progress.wait_for(lambda: self.broken or reached(self), PATIENCE), self
        assert not self.broken, self.broken

    def note(self, answer: Answer | None) -> None:
        with self._progress:
            self.answers += answer is not None
            self.told += answer is not None and answer.closes
            self._progress.notify_all()

    def note_broken(self, error: Exception) -> None:
        with self._progress:
            self.broken.append(repr(error))
            self._progress.notify_all()


@contextmanager
def visiting(port: int, visitors: int, requests: int) -> Iterator[Visits]:
    """Threads that come, make so many requests on a connection, and come again, until nobody listens any more."""
    visits = Visits()
    threads = [threading.Thread(target=_visit, args=(port, requests, visits)) for _ in range(visitors)]
    for thread in threads:
        thread.start()
    try:
        yield visits
    finally:
        for thread in threads:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a visitor still waits"


def _visit(port: int, requests: int, visits: Visits) -> None:
    kinds = cycle((GET, POST))
    try:
        while True:
            with Caller(port) as caller:
                _talk(caller, kinds, requests, visits)
    except ConnectionRefusedError:
        pass
    except Exception as error:
        visits.note_broken(error)


def _talk(caller: Caller, kinds: Iterator[Request], requests: int, visits: Visits) -> None:
    for _ in range(requests):
        answer = caller.ask(next(kinds))
        visits.note(answer)
        if answer is None or caller.told:
            return
