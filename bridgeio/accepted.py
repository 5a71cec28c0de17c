"""What a server of ours does for a connection, for those that another server has accepted."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from bridgeio.handlers import Handler, OnError, ServeOptions
from bridgeio.limits import HANDSHAKE_TIMEOUT, LIMIT, WRITE_LIMIT
from bridgeio.reader import Reader
from bridgeio.wrapping import wrap
from bridgeio.writer import Writer

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["serve_stream"]


def serve_stream(
    handler: Handler,
    native: Any,
    *,
    ssl: SSLContext | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    standard_compatible: bool = True,
    limit: int = LIMIT,
    on_error: OnError | None = None,
    write_limit: int = WRITE_LIMIT,
) -> Coroutine[Any, Any, None]:
    """Serves one connection that a server of the framework's own has accepted: ``await serve_stream(handler, stream)``.

    The stream is wrapped when this is called, so that nothing that comes from then on is missed, and the handler
    runs when the result is awaited. As under `serve`, the connection is closed when the handler returns, its
    errors go to ``on_error`` and not to the caller. A cancel closes it, too, and is passed on.

    :param handler: an async function of a `Reader` and a `Writer`.
    :param native: see `wrap`, also for its errors.
    :param ssl: for TLS that is not spoken yet; this is the server's side.
    :param on_error: see `serve`, as the other parameters.
    """
    options = ServeOptions(
        handler=handler,
        limit=limit,
        write_limit=write_limit,
        max_connections=None,
        grace=0.0,
        on_error=on_error,
        ssl=ssl,
        handshake_timeout=handshake_timeout,
        standard_compatible=standard_compatible,
    )
    reader, writer = wrap(native, limit=limit, write_limit=write_limit)
    return _serve(options, reader, writer)


async def _serve(options: ServeOptions, reader: Reader, writer: Writer) -> None:
    try:
        await options.secure(writer)
        await options.handler(reader, writer)
        writer.close()
        await writer.wait_closed()
    except Exception as error:
        options.report(error, writer.get_extra_info("peername"))
    finally:
        writer.close()
