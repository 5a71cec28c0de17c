"""The same client in plain synchronous code: no event loop, and the connection outlives each call.

python echo_blocking_client.py --port 8888 hello world
"""

from __future__ import annotations

import argparse

from echo_client import exchange

import bridgeio

connect = bridgeio.blocking(bridgeio.open_connection)
exchange_blocking = bridgeio.blocking(exchange)  # the very function that the client beside awaits


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends words to an echo server, without async.")
    parser.add_argument("words", nargs="+", metavar="WORD", help="each is sent as a line")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    reader, writer = connect(options.host, options.port)
    for word in options.words:
        print(exchange_blocking(reader, writer, word))
    writer.close()
    bridgeio.blocking(writer.wait_closed)()


if __name__ == "__main__":
    main()
