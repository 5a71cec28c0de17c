"""Asks the lockers, and prints what they answer.

python client_before.py --port 7000 "PUT 7 hello" "TAKE 7 0"
"""

import argparse
import asyncio
import sys
from datetime import timedelta

from tornado.gen import with_timeout
from tornado.iostream import StreamClosedError
from tornado.tcpclient import TCPClient
from tornado.util import TimeoutError as TornadoTimeoutError


class Client:
    """One connection, for one coroutine."""

    def __init__(self, stream, patience):
        self._stream = stream
        self._patience = patience

    async def ask(self, request):
        """The answer to one request."""
        await self._stream.write(request.encode() + b"\n")
        reading = self._stream.read_until(b"\n")
        line = await with_timeout(self._patience, reading, quiet_exceptions=StreamClosedError)
        return line.decode().rstrip("\n")


async def ask_all(port, requests, patience):
    """The answers to requests that are asked one after the other."""
    stream = await TCPClient().connect("127.0.0.1", port, timeout=patience)
    try:
        client = Client(stream, patience)
        return [await client.ask(request) for request in requests]
    finally:
        stream.close()


def main():
    parser = argparse.ArgumentParser(description="Asks the lockers.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds that an answer may take")
    parser.add_argument("requests", nargs="+")
    options = parser.parse_args()
    try:
        for answer in asyncio.run(ask_all(options.port, options.requests, timedelta(seconds=options.patience))):
            print(answer)
    except (OSError, TornadoTimeoutError) as error:
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    main()
