"""The handler: requests in, answers out, and a clean end.

Promise: what was carried out was answered, and what was not answered was not carried out. So a client that the
server hangs up on, at SIGTERM or after a protocol error, knows where it stands: it has to read to the end.
"""

from __future__ import annotations

from contextlib import suppress

import bridgeio
from pocketredis.errors import CommandError
from pocketredis.replies import encode
from pocketredis.requests import Requests
from pocketredis.session import Database, Session
from rediswire.errors import ProtocolError

__all__ = ["WRITE_LIMIT", "serve_client"]

CHUNK = 64 * 1024
WRITE_LIMIT = 32 * 1024 * 1024  # for `bridgeio.serve`; as much may wait for one client, be it an answer or messages
GOODBYE = 15.0  # seconds; a client that reads its answers hangs up long before


async def serve_client(database: Database, reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    session = Session(database, writer)
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(cancel_when_closing, group.cancel_scope)
            await converse(session, reader)
            group.cancel_scope.cancel()
    finally:
        session.end()
    await hang_up(reader, writer)


async def cancel_when_closing(everything: bridgeio.CancelScope) -> None:
    await bridgeio.current_server().closing.wait()
    everything.cancel("the server is closing")


async def converse(session: Session, reader: bridgeio.Reader) -> None:
    """Until the client ends it, or is gone, or has said what cannot be understood."""
    requests = Requests()
    with suppress(OSError):
        while not session.is_over and (data := await reader.read(CHUNK)):
            requests.feed(data)
            await answer_all(session, requests)


async def answer_all(session: Session, requests: Requests) -> None:
    """One write for a whole pipeline, unless its answers are long: a client that does not read is waited for."""
    session.database.store.advance(bridgeio.current_time())
    try:
        for request in requests:
            session.answer(request)
            if session.is_over:
                break
            if session.unsent_size >= CHUNK:
                await session.flush()
    except ProtocolError as error:
        session.say(encode(CommandError(f"ERR Protocol error: {error}")))
        session.is_over = True
    await session.flush()


async def hang_up(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    """Ends our direction first and reads on for a while. To close a socket on bytes that nobody has read resets the
    connection, and that can take our last answers from the client before it has seen them."""
    with suppress(OSError, EOFError), bridgeio.move_on_after(GOODBYE):
        if writer.can_write_eof():
            writer.write_eof()
            while await reader.read(CHUNK):
                pass
