"""The server's side of the opening handshake: look at the request, then accept or reject it.

Only the head of the request is taken out of the reader. What follows it are frames, and stays for the WebSocket.
"""

from __future__ import annotations

from http import HTTPStatus

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import ProtocolError, RemoteProtocolError

import bridgeio
from wswire.errors import HandshakeError
from wswire.websocket import Limits, WebSocket

__all__ = ["END_OF_HEAD", "Handshake"]

END_OF_HEAD = b"\r\n\r\n"


class Handshake:
    """A client's request.

    :ivar target: path and query.
    :ivar headers: pairs of lower-case name and value, both bytes.
    """

    def __init__(
        self, reader: bridgeio.Reader, writer: bridgeio.Writer, protocol: WSConnection, request: Request
    ) -> None:
        self.target = request.target
        self.headers = request.extra_headers
        self._reader = reader
        self._writer = writer
        self._protocol = protocol

    @classmethod
    async def receive(cls, reader: bridgeio.Reader, writer: bridgeio.Writer, timeout: float = 30.0) -> Handshake:
        """Waits for the request.

        :raises HandshakeError: if none comes in time, or one that is none; the client is told.
        """
        protocol = WSConnection(ConnectionType.SERVER)
        try:
            with bridgeio.fail_after(timeout):
                protocol.receive_data(await reader.readuntil(END_OF_HEAD))
            (request,) = protocol.events()
        except RemoteProtocolError as error:
            writer.write(protocol.send(error.event_hint or RejectConnection()))
            raise HandshakeError(f"no request for a WebSocket: {error}") from error
        except (OSError, EOFError, ValueError) as error:  # ValueError: of the reader's limit, or a host that is none
            raise HandshakeError(f"no request for a WebSocket: {str(error) or type(error).__name__}") from error
        assert isinstance(request, Request)
        return cls(reader, writer, protocol, request)

    def accept(self, limits: Limits | None = None, *, compress: bool = True) -> WebSocket:
        """
        :param compress: uses permessage-deflate if the client offers it (RFC 7692).
        :raises HandshakeError: for an offer that cannot be understood.
        """
        extensions = [PerMessageDeflate()] if compress else []
        try:
            self._writer.write(self._protocol.send(AcceptConnection(extensions=list(extensions))))
        except (OSError, ValueError, ProtocolError) as error:
            raise HandshakeError(f"the WebSocket cannot be accepted: {error}") from error
        return WebSocket(self._reader, self._writer, self._protocol, limits or Limits())

    def reject(self, status: HTTPStatus, why: str) -> None:
        """Answers with an HTTP response. The connection is of no further use."""
        body = f"{why}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        response = RejectConnection(status_code=status, headers=[*headers, (b"connection", b"close")], has_body=True)
        self._writer.write(self._protocol.send(response) + self._protocol.send(RejectData(data=body)))
