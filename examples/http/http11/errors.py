"""What can go wrong between two who speak HTTP."""

from __future__ import annotations

__all__ = ["DisconnectedError", "HttpError", "ProtocolError", "StalledError", "TooLargeError"]


class HttpError(Exception):
    """The base of all these. An application raises it itself: ``raise HttpError(404, "there is no such page")``.

    :ivar status: what a server answers if one of these ends a request, also one that it has made for its client.
    """

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


class ProtocolError(HttpError):
    """The peer does not speak HTTP/1.1 as it should, or has stopped in the middle of a message."""


class StalledError(HttpError, TimeoutError):
    """The peer has taken too long."""


class TooLargeError(HttpError):
    """A body is larger than the reader of it would take."""


class DisconnectedError(HttpError, ConnectionError):
    """The server has hung up before it answered, or there is none."""
