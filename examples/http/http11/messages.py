"""Requests and responses. Both sides use the same, so what a client has got a server can pass on."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from http11.errors import TooLargeError

__all__ = ["Body", "Headers", "Message", "Request", "Response"]

Body = bytes | AsyncIterable[bytes]  # an iterable is sent while it is made, and read while it comes


class Headers:
    """Names and values in their order, as text; a name is found in any case.

    :raises ValueError: if a name or a value is not Latin-1, which is all that HTTP/1.1 can carry.
    """

    __slots__ = ("raw",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]

    @classmethod
    def received(cls, raw: Iterable[tuple[bytes, bytes]]) -> Headers:
        """From the bytes that a peer has sent."""
        headers = cls()
        headers.raw = list(raw)
        return headers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of that name."""
        wanted = name.lower()
        return next((value for name, value in self if name.lower() == wanted), default)


class Message:
    """What a request and a response have in common."""

    __slots__ = ()

    headers: Headers
    body: Body

    async def parts(self) -> AsyncIterator[bytes]:
        """The body piece by piece, while it comes."""
        if isinstance(self.body, bytes):
            yield self.body
        else:
            async for part in self.body:
                yield part

    async def read(self, limit: int = 1 << 20) -> bytes:
        """The whole body.

        :param limit: in bytes, because a peer decides how much comes.
        :raises TooLargeError: if it is more; a server then answers 413, unless the application says otherwise.
        """
        body = bytearray()
        async for part in self.parts():
            body += part
            if len(body) > limit:
                raise TooLargeError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes")
        return bytes(body)


@dataclass(slots=True)
class Request(Message):
    """
    :ivar target: as it stands in the request line: the path and the query, still quoted.
    """

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: Body = b""


@dataclass(slots=True)
class Response(Message):
    """
    :ivar body: bytes, or an async iterable of them, which is sent chunked unless there is a ``Content-Length``.
    """

    status: int
    body: Body = b""
    headers: Headers = field(default_factory=Headers)
