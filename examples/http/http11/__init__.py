"""HTTP/1.1 for every framework: a server and a client of some eight hundred lines, h11 over bridgeio's streams.

    async def hello(request: Request) -> Response:
        return Response(200, b"hello, world\\n")

    bridgeio.run_server(handler(hello), "127.0.0.1", 8080, backend="trio")

The rooms, arrows only downwards:

    server   an application behind a stream handler: what each request gets, and how a connection ends
    client   a pool of connections, and what may be repeated on another one
    wire     events of h11 over a reader and a writer: one connection, either side
    messages a request and a response, the same for both sides
    limits, errors
"""

from http11.client import Client
from http11.errors import DisconnectedError, HttpError, ProtocolError, StalledError, TooLargeError
from http11.limits import Limits
from http11.messages import Body, Headers, Message, Request, Response
from http11.server import App, handler

__all__ = [
    "App",
    "Body",
    "Client",
    "DisconnectedError",
    "Headers",
    "HttpError",
    "Limits",
    "Message",
    "ProtocolError",
    "Request",
    "Response",
    "StalledError",
    "TooLargeError",
    "handler",
]
