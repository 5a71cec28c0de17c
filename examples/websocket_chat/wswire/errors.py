"""Two ways to fail: there never was a WebSocket, or there is one no more."""

from __future__ import annotations

__all__ = ["ConnectionClosedError", "HandshakeError", "WebSocketError"]

NORMAL = (1000, 1001)


class WebSocketError(Exception):
    """Every error of this library."""


class HandshakeError(WebSocketError):
    """No WebSocket came about.

    :ivar status: of the HTTP response, if there was one.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ConnectionClosedError(WebSocketError, ConnectionError):
    """The WebSocket was closed, by either side or by the network.

    :ivar code: RFC 6455, section 7.4; 1006 where no closing frame came, 1005 for one without a code.
    :ivar reason: in the words of whoever closed it.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason

    @property
    def is_normal(self) -> bool:
        """Whether somebody said goodbye as one does."""
        return self.code in NORMAL
