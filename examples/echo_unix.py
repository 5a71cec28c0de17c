"""The same echo server over a UNIX socket. The coroutine stays; the line that serves it names a path.

python echo_unix.py /tmp/echo --backend gevent
"""

from __future__ import annotations

import argparse

from echo_streams import echo_client

import bridgeio


def announce(server: bridgeio.Server) -> None:
    print(f"listening on {server.addresses[0]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Echoes lines over a UNIX socket.")
    parser.add_argument("path", help="where to listen; the socket file is removed at the end")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    options = parser.parse_args()
    bridgeio.run_server(echo_client, path=options.path, backend=options.backend, on_started=announce)


if __name__ == "__main__":
    main()
