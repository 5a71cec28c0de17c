"""A small Redis server. redis-cli talks to it, redis-benchmark drives it; SIGTERM ends it in order.

python resp_server.py --backend trio --port 6379
"""

from __future__ import annotations

import argparse
from functools import partial

import bridgeio
import pocketredis


def announce(server: bridgeio.Server) -> None:
    print(f"listening on port {server.port}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keeps strings, lists, sets, hashes and sorted sets in memory.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    options = parser.parse_args()
    bridgeio.run_server(
        partial(pocketredis.serve_client, pocketredis.Database()),
        options.host,
        options.port,
        backend=options.backend,
        on_started=announce,
        write_limit=pocketredis.WRITE_LIMIT,
        grace=20.0,
    )


if __name__ == "__main__":
    main()
