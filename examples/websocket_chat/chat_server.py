"""A chat server. Whoever connects to ws://host:port/ROOM?name=NAME is in that room.

python chat_server.py --backend trio --port 8765
"""

from __future__ import annotations

import argparse
from functools import partial

import bridgeio
import chatroom


def announce(server: bridgeio.Server) -> None:
    print(f"listening on port {server.port}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Chat rooms over WebSockets.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    options = parser.parse_args()
    handler = partial(chatroom.serve_member, chatroom.Rooms())
    bridgeio.run_server(handler, options.host, options.port, backend=options.backend, on_started=announce)


if __name__ == "__main__":
    main()
