"""What a peer may ask of us, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of each connection; times are in seconds, sizes in bytes.

    :ivar head: of a request or response before its body. A server answers 431 to a larger one.
    :ivar idle: until the next request has come, with its whole head; a server then says 408. A client does not
        use a connection again that was idle for so long. The usual 60 of proxies in front of a server is less,
        so that they close first.
    :ivar stall: that a body may stand still, in either direction.
    :ivar connect: until a client is connected, TLS included.
    :ivar last_request: that a server that closes leaves an idle client for one more request.
    :ivar goodbye: after the last response, until the client has closed, too.
    :ivar skip: of a request's body that nobody has read, to save the connection.
    :ivar kept: how many idle connections a client keeps to each server.
    """

    head: int = 32 * 1024
    idle: float = 75.0
    stall: float = 30.0
    connect: float = 30.0
    last_request: float = 2.0
    goodbye: float = 2.0
    skip: int = 64 * 1024
    kept: int = 8
