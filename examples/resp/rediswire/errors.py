"""What can go wrong, by class: there is no connection, it is gone, the server refused, or what came is no RESP."""

from __future__ import annotations

__all__ = ["ConnectionLostError", "NotConnectedError", "ProtocolError", "RedisError", "ReplyError"]


class RedisError(Exception):
    """Every error of this library."""


class NotConnectedError(RedisError, ConnectionError):
    """The server cannot be reached, or refuses user, password or database; why is the ``__cause__``.

    Nothing was sent, so it is safe to ask again.
    """


class ConnectionLostError(RedisError, ConnectionError):
    """The connection ended before the answer came. Whether the server has done what it was asked, nobody knows."""


class ReplyError(RedisError):
    """The server answered with an error. The connection is as good as before."""

    @property
    def code(self) -> str:
        """The first word, such as ``ERR``, ``WRONGTYPE`` or ``NOPERM``."""
        return str(self).partition(" ")[0]


class ProtocolError(RedisError):
    """What the peer sent is no RESP, or is more than the limit allows."""
