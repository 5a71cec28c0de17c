"""What a server calls, and with which options: a handler for each connection, and somebody to tell of its failures."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from bridgeio.errors import show_address
from bridgeio.groups import name_of
from bridgeio.limits import check_count, check_seconds, check_size
from bridgeio.reader import Reader
from bridgeio.records import Record
from bridgeio.writer import Writer

if TYPE_CHECKING:
    from logging import Logger
    from ssl import SSLContext

__all__ = ["Handler", "OnError", "ServeOptions", "logger"]

Handler = Callable[[Reader, Writer], Coroutine[Any, Any, object]]
OnError = Callable[[Exception, Any], object]


def logger() -> Logger:
    """Of all servers. The first server loads `logging`, and not what it has to say first: that there are no
    descriptors left, and none to load a module with."""
    import logging

    return logging.getLogger("bridgeio.server")


class ServeOptions(Record, kw_only=True):
    """What `bridgeio.serve` and its kin were asked for; their parameters say what each means."""

    handler: Handler
    limit: int
    write_limit: int
    max_connections: int | None
    grace: float
    on_error: OnError | None
    ssl: SSLContext | None
    handshake_timeout: float
    standard_compatible: bool

    def __post_init__(self) -> None:
        logger()
        if not callable(self.handler):
            raise TypeError(f"a handler is an async function of a reader and a writer, not {self.handler!r}")
        if not _is_async(self.handler):
            raise TypeError(f"the handler {name_of(self.handler)} is no async function: define it with `async def`")
        if self.max_connections is not None:
            check_count("max_connections", self.max_connections, least=1)
        if self.ssl is not None:
            from bridgeio.tls import check_arguments

            check_arguments(self.ssl, True, None, self.handshake_timeout)
        check_size("limit", self.limit)
        check_size("write_limit", self.write_limit)
        check_seconds("grace", self.grace)
        check_seconds("handshake_timeout", self.handshake_timeout, positive=True)
        if self.on_error is not None and not callable(self.on_error):
            raise TypeError(f"on_error is a function of an exception and the peer's address, not {self.on_error!r}")

    async def secure(self, writer: Writer) -> None:
        """Begins TLS, if it was asked for."""
        if self.ssl is not None:
            await writer.start_tls(
                self.ssl,
                server_side=True,
                handshake_timeout=self.handshake_timeout,
                standard_compatible=self.standard_compatible,
            )

    def report(self, error: Exception, peer: Any) -> None:
        """A connection has failed."""
        try:
            (self.on_error or _log_error)(error, peer)
        except Exception:
            logger().exception("on_error failed for %s, with this error:", show_address(peer))
            _log_error(error, peer)


def _log_error(error: Exception, peer: Any) -> None:
    """The default ``on_error``: a broken connection is no news, failed TLS a warning, anything else an error."""
    if isinstance(error, ConnectionError):
        logger().info("connection to %s: %s", show_address(peer), error)
    elif type(error).__module__ == "ssl":  # which need not be imported
        logger().warning("TLS with %s: %s", show_address(peer), error)
    else:
        logger().error("handler for %s failed", show_address(peer), exc_info=error)


def _is_async(function: Any) -> bool:
    from inspect import iscoroutinefunction  # slow to import, and loaded by now under most frameworks

    while hasattr(function, "func"):  # functools.partial
        function = function.func
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)
