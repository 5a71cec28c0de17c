"""The client's side of the opening handshake."""

from __future__ import annotations

import ssl
from urllib.parse import SplitResult, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import ProtocolError

import bridgeio
from wswire.errors import HandshakeError
from wswire.handshake import END_OF_HEAD
from wswire.websocket import Limits, WebSocket

__all__ = ["connect"]

PORTS = {"ws": 80, "wss": 443}
LONGEST_REFUSAL = 4096


async def connect(
    url: str,
    limits: Limits | None = None,
    *,
    ssl: ssl.SSLContext | None = None,
    compress: bool = True,
    timeout: float = 30.0,
) -> WebSocket:
    """A WebSocket to ``ws://host:port/path?query``, or ``wss:`` for TLS. A cancelled call leaves nothing open.

    :param ssl: for ``wss:``; default: what `ssl.create_default_context` makes.
    :param compress: offers permessage-deflate (RFC 7692).
    :param timeout: seconds, for all of it.
    :raises HandshakeError: if the server does not want one, with its ``status``.
    :raises OSError: if there is no connection, `TimeoutError` among them.
    :raises ValueError: for a URL of another kind.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"no URL of a WebSocket: {url!r}; they begin with ws:// or wss:// and a host")
    with bridgeio.fail_after(timeout):
        port = parts.port or PORTS[parts.scheme]
        tls = (ssl or True) if parts.scheme == "wss" else None
        reader, writer = await bridgeio.open_connection(parts.hostname, port, ssl=tls)
        try:
            protocol = await shake_hands(reader, writer, request_for(parts, compress))
        except BaseException:
            writer.abort()
            raise
    return WebSocket(reader, writer, protocol, limits or Limits())


def request_for(parts: SplitResult, compress: bool) -> Request:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    extensions: list[Extension] = [PerMessageDeflate()] if compress else []
    return Request(host=parts.netloc.rpartition("@")[2], target=target, extensions=extensions)


async def shake_hands(reader: bridgeio.Reader, writer: bridgeio.Writer, request: Request) -> WSConnection:
    protocol = WSConnection(ConnectionType.CLIENT)
    writer.write(protocol.send(request))
    try:
        protocol.receive_data(await reader.readuntil(END_OF_HEAD))
        (event, *_) = protocol.events()
    except (EOFError, ValueError, ProtocolError) as error:  # ValueError: of the reader's limit
        raise HandshakeError(f"the server's answer is none to a WebSocket's request: {error}") from error
    if isinstance(event, AcceptConnection):
        return protocol
    assert isinstance(event, RejectConnection)
    why = await refusal(reader, protocol)
    raise HandshakeError(f"the server answers {event.status_code}: {why}", event.status_code)


async def refusal(reader: bridgeio.Reader, protocol: WSConnection) -> str:
    """The beginning of what it says about it."""
    said = bytearray()
    try:
        while len(said) < LONGEST_REFUSAL and (data := await reader.read(LONGEST_REFUSAL)):
            protocol.receive_data(data)
            events = [event for event in protocol.events() if isinstance(event, RejectData)]
            said += b"".join(event.data for event in events)
            if any(event.body_finished for event in events):
                break
    except (OSError, EOFError, ProtocolError):
        pass
    return said.decode("utf-8", "replace").strip() or "without a word"
