"""pocketredis: a small server that speaks Redis' protocol, on every framework that bridgeio knows.

bridgeio.run_server(partial(pocketredis.serve_client, pocketredis.Database()), "localhost", 6379)

From the inside outwards: `store` holds the values, `commands` change them, one plain function for each command;
`requests` and `replies` are the protocol; `session` is one connection and `server` the only file that waits.
"""

from __future__ import annotations

from pocketredis import commands
from pocketredis.server import WRITE_LIMIT, serve_client
from pocketredis.session import Database

__all__ = ["WRITE_LIMIT", "Database", "commands", "serve_client"]
