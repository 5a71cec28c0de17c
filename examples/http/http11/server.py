"""The server's side: what each request gets, and how a connection ends.

Rule 1: a request that has come whole gets a whole response, or the client is told before, by a
        ``Connection: close``, that it will get none. Hanging up without a word leaves a client in doubt whether its
        request was done, if that was on its way; so who has been idle for too long, or until the server ends, is
        told as well (408, RFC 9110, 15.5.9), and may send again what it had just sent.
Rule 2: a server that closes says ``Connection: close`` with every response that it begins. An idle client gets
        `Limits.last_request` seconds for one more request, then rule 1 holds.
Rule 3: no response is left in doubt: one that cannot be ended as its head has promised ends in a reset.
Rule 4: the last words are not lost: see `Wire.hang_up`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, nullcontext, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import h11

import bridgeio
from http11.errors import HttpError, ProtocolError, StalledError
from http11.limits import Limits
from http11.messages import Body, Headers, Request, Response
from http11.wire import Wire, response_head

__all__ = ["App", "handler"]

Handler = Callable[[bridgeio.Reader, bridgeio.Writer], Coroutine[Any, Any, None]]
App = Callable[[Request], Awaitable[Response]]

_PLAIN_TEXT = Headers([("Content-Type", "text/plain; charset=utf-8")])


def handler(app: App, limits: Limits | None = None) -> Handler:
    """What `bridgeio.serve`, `bridgeio.run_server` and their kin call for each connection.

    Under TLS serve with ``standard_compatible=False``: HTTP knows by itself whether a message is whole.

    :param app: an async function of a `Request` that returns a `Response`. It may raise `HttpError`; any other
        exception is answered by 500, and goes to the server's ``on_error``. If the server ends before it returns, it
        is cancelled, and the client gets a 503.
    """
    bounds = limits or Limits()

    async def serve_http(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        wire = Wire(h11.SERVER, reader, writer, bounds, writer.get_extra_info("peername"))
        await _Connection(app, wire, bounds).serve()

    return serve_http


class _Connection:
    """One client's requests, one after the other."""

    def __init__(self, app: App, wire: Wire, limits: Limits) -> None:
        self._app = app
        self._wire = wire
        self._limits = limits
        self._server = _server_or_none()
        self._for_head = False  # whether the client wants no body

    async def serve(self) -> None:
        try:
            while await self._exchange() and self._wire.next_cycle():
                pass
        except Exception:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            await self._wire.hang_up()
            raise
        except BaseException:  # cancelled: the server has waited for long enough
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            raise
        await self._wire.hang_up()

    async def _exchange(self) -> bool:
        """A request and its response; ``False`` if the connection is over."""
        try:
            request = await self._next_request()
            if request is None:
                return False
            response = await self._answer(request)
            async with _closed_in_the_end(response.body):
                await self._respond(response)
        except HttpError as error:
            self._refuse(error.status, str(error))
            return False
        return True

    async def _next_request(self) -> Request | None:
        """``None`` if the client has hung up."""
        head: Any = None
        with bridgeio.move_on_after(self._limits.idle), self._until_closing():
            head = await self._wire.next_event()
        if head is None:
            why = "the server is closing" if self._is_closing() else f"no request has come in {self._limits.idle} s"
            raise StalledError(HTTPStatus.REQUEST_TIMEOUT, why)
        return None if isinstance(head, h11.ConnectionClosed) else self._request(head)

    def _request(self, head: h11.Request) -> Request:
        if head.method == b"CONNECT":
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "this server is no proxy")
        self._for_head = head.method == b"HEAD"
        headers = Headers.received(head.headers)
        body: Body = b""
        if _announces_body(headers):
            body = self._wire.body()
        else:
            self._wire.event_now()  # the end of it
        return Request(head.method.decode(), head.target.decode(), headers, body)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._app(request)
        except (ProtocolError, StalledError):
            raise  # the connection has suffered
        except HttpError as error:
            return Response(error.status, _in_words(error.status, str(error)), _PLAIN_TEXT)

    async def _respond(self, response: Response) -> None:
        if isinstance(response.body, bytes):  # else the application may read on while it answers
            await self._skip_rest()
        headers = [*response.headers, *self._more_headers(response)]
        if self._wire.has_more or self._is_closing():
            headers.append(("Connection", "close"))
        head = _head(response.status, headers)
        await self._wire.send_message(head, b"" if self._for_head or _is_bare(response) else response.body)

    async def _skip_rest(self) -> None:
        """Of a body that the application has not read: a short one is no reason to close the connection."""
        if not self._wire.waits_for_100:
            await self._wire.skip(self._limits.skip)

    def _more_headers(self, response: Response) -> Iterator[tuple[str, str]]:
        if "Date" not in response.headers:
            yield "Date", formatdate(usegmt=True)
        if isinstance(response.body, bytes) and not _is_bare(response) and "Content-Length" not in response.headers:
            yield "Content-Length", str(len(response.body))

    def _refuse(self, status: int, text: str = "") -> None:
        """Says the last words, if there may be any; see rule 3."""
        if self._wire.is_speaking:
            self._wire.writer.abort()
        elif self._wire.may_answer:
            words = _in_words(status, text)
            head = _head(status, [*_PLAIN_TEXT, ("Content-Length", str(len(words))), ("Connection", "close")])
            with suppress(ConnectionError):  # nobody is there to hear it
                self._wire.put(head, b"" if self._for_head else words)

    def _until_closing(self) -> AbstractContextManager[object]:
        if self._server is None:
            return nullcontext()
        return self._server.move_on_when_closing(self._limits.last_request)

    def _is_closing(self) -> bool:
        return self._server is not None and self._server.closing.is_set()


def _server_or_none() -> bridgeio.Server | None:
    try:
        return bridgeio.current_server()
    except RuntimeError:  # another kind of server has accepted the connection: `bridgeio.serve_stream`
        return None


def _announces_body(headers: Headers) -> bool:
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def _is_bare(response: Response) -> bool:
    """Whether its status says that it has no body."""
    return response.status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


def _in_words(status: int, text: str) -> bytes:
    words = f"{status} {_reason(status)}\n"
    return (words + text + "\n" if text else words).encode()


def _head(status: int, headers: Iterable[tuple[str, str]]) -> h11.Response:
    return response_head(status, _reason(status), Headers(headers))


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else ""


def _closed_in_the_end(body: Any) -> AbstractAsyncContextManager[object]:
    """A generator may hold a file open, also if the client wanted only the head."""
    return aclosing(body) if hasattr(body, "aclose") else nullcontext()
