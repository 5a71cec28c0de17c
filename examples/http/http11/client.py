"""The client's side: a pool of connections, and what may be asked again on another one.

Rule 1: a connection is used again only after an exchange that both sides have ended; whoever is cancelled in the
        middle of one, or leaves a response unread, closes it.
Rule 2: a server may hang up on an idle connection while a request is on its way to it. Then the request is sent
        again on another connection if it may be: if the server says that it has not done it (408), or if doing it
        twice is doing it once (RFC 9110, 9.2.2). A body that is made while it is sent cannot be sent again.
Rule 3: certificates and host names are verified; who wants otherwise brings a context that says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from ssl import SSLContext
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11

import bridgeio
from http11.errors import DisconnectedError, ProtocolError, StalledError
from http11.limits import Limits
from http11.messages import Body, Headers, Response
from http11.wire import Wire, request_head

__all__ = ["Client"]

_IDEMPOTENT = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}
_PORTS = {"http": 80, "https": 443}


class Client:
    """Makes requests, and keeps connections for the next ones: ``async with Client() as client:``.

    Any number of tasks of one run may use it at once. Each step is bounded by `Limits`; a deadline for the whole is
    the caller's, `bridgeio.fail_after`. All errors are `HttpError`, but for those of names and certificates
    (`socket.gaierror`, `ssl.SSLError`) and of a connection that breaks in the middle of a response (`OSError`).

    :param ssl: for ``https``, instead of what `ssl.create_default_context` makes.
    """

    def __init__(self, *, ssl: SSLContext | None = None, limits: Limits | None = None) -> None:
        self._ssl = ssl
        self._limits = limits or Limits()
        self._idle: dict[_Origin, list[_Connection]] = {}
        self._is_open = True

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    async def request(
        self, method: str, url: str, *, headers: Iterable[tuple[str, str]] = (), body: Body = b"", limit: int = 1 << 20
    ) -> Response:
        """A response with its whole body, which is bytes.

        :param limit: bytes that the body may have.
        :raises TooLargeError: if it has more.
        """
        async with self.open(method, url, headers=headers, body=body) as response:
            response.body = await response.read(limit)
            return response

    @asynccontextmanager
    async def open(
        self, method: str, url: str, *, headers: Iterable[tuple[str, str]] = (), body: Body = b""
    ) -> AsyncIterator[Response]:
        """A response whose body is read while it comes: ``async for part in response.parts():``. What has not been read
        when the block is left is not read any more.

        :param body: sent before the response is waited for; an async iterable goes out as it is made.
        :raises ValueError: for a URL that is not ``http`` or ``https``, and for headers that cannot be.
        :raises RuntimeError: after the client's block.
        """
        if not self._is_open:
            raise RuntimeError("the block of this Client was left: make requests inside it")
        origin, target = _split(url)
        request = _Request(method, target, _with_more(headers, origin, method, body), body)
        connection, response = await self._ask(origin, request)
        try:
            yield response
        finally:
            self._take_back(connection)

    async def _ask(self, origin: _Origin, request: _Request) -> tuple[_Connection, Response]:
        while (connection := self._take_idle(origin)) is not None:
            try:
                response = await connection.exchange(request)
            except DisconnectedError:
                if not request.may_be_repeated:
                    raise
            else:
                if response.status != HTTPStatus.REQUEST_TIMEOUT or not isinstance(request.body, bytes):
                    return connection, response
                connection.close()
        connection = await self._connect(origin)
        return connection, await connection.exchange(request)

    async def _connect(self, origin: _Origin) -> _Connection:
        secure = (self._ssl or True) if origin.scheme == "https" else None
        with bridgeio.move_on_after(self._limits.connect):
            try:
                streams = await bridgeio.open_connection(origin.host, origin.port, ssl=secure)
            except bridgeio.ConnectError as error:
                raise DisconnectedError(HTTPStatus.BAD_GATEWAY, str(error)) from error
            return _Connection(origin, Wire(h11.CLIENT, *streams, self._limits, origin))
        raise StalledError(HTTPStatus.GATEWAY_TIMEOUT, f"{origin} has not answered in {self._limits.connect} s")

    def _take_idle(self, origin: _Origin) -> _Connection | None:
        """The one that was used last: the others may go out of use."""
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_fit(self._limits.idle):
                return connection
            connection.close()
        return None

    def _take_back(self, connection: _Connection) -> None:
        idle = self._idle.setdefault(connection.origin, [])
        if connection.ends_well() and self._is_open and len(idle) < self._limits.kept:
            idle.append(connection)
        else:
            connection.close()


class _Origin(NamedTuple):
    """Where connections lead to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class _Request(NamedTuple):
    method: str
    target: str
    headers: Headers
    body: Body

    @property
    def may_be_repeated(self) -> bool:
        return self.method in _IDEMPOTENT and isinstance(self.body, bytes)


class _Connection:
    """To one server, for one exchange after the other."""

    def __init__(self, origin: _Origin, wire: Wire) -> None:
        self.origin = origin
        self._wire = wire
        self._idle_since = 0.0

    async def exchange(self, request: _Request) -> Response:
        """
        :raises DisconnectedError: if the connection ends before anything of a response has come.
        """
        try:
            await self._send(request)
            return await self._receive()
        except (ConnectionError, ProtocolError) as error:
            self._wire.writer.abort()
            if self._wire.silent:
                raise DisconnectedError(HTTPStatus.BAD_GATEWAY, f"{self.origin} has hung up: {error}") from error
            raise
        except BaseException:
            self._wire.writer.abort()
            raise

    async def _send(self, request: _Request) -> None:
        head = request_head(request.method, request.target, request.headers)
        try:
            await self._wire.send_message(head, request.body)
        except ConnectionError:
            pass  # the server may have said why, before it hung up

    async def _receive(self) -> Response:
        head: Any = None
        while not isinstance(head, h11.Response):  # 1xx come before
            head = await self._wire.next_event_in_time()
        return Response(head.status_code, self._wire.body(), Headers.received(head.headers))

    def ends_well(self) -> bool:
        """Whether the exchange is over, and another may follow."""
        self._idle_since = bridgeio.current_time()
        return self._wire.is_over() and self._wire.next_cycle()

    def is_fit(self, seconds: float) -> bool:
        """Nothing has come since the last exchange: if the server has said something, it was its goodbye."""
        return bridgeio.current_time() - self._idle_since < seconds and self._wire.is_quiet()

    def close(self) -> None:
        self._wire.writer.close()


def _split(url: str) -> tuple[_Origin, str]:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        raise ValueError(f"a URL is http://host/path or https://host/path, not {url!r}")
    target = parts.path or "/"
    origin = _Origin(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])
    return origin, f"{target}?{parts.query}" if parts.query else target


def _with_more(headers: Iterable[tuple[str, str]], origin: _Origin, method: str, body: Body) -> Headers:
    """The headers that a request must have besides those given."""
    given = Headers(headers)
    more = [] if "Host" in given else [("Host", origin.authority)]
    if "Content-Length" not in given:
        if not isinstance(body, bytes):
            more.append(("Transfer-Encoding", "chunked"))
        elif body or method in ("POST", "PUT", "PATCH"):
            more.append(("Content-Length", str(len(body))))
    return Headers([*more, *given])
