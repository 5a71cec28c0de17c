"""Asks the lockers, and prints what they answer.

python client_after.py --port 7000 "PUT 7 hello" "TAKE 7 0"
"""

import argparse
import sys

import bridgeio


class Client:
    """One connection, for one task."""

    def __init__(self, reader, writer, patience):
        self._reader = reader
        self._writer = writer
        self._patience = patience

    async def ask(self, request):
        """The answer to one request.

        :raises TimeoutError: if there is none in time; the connection is of no use then.
        :raises ConnectionError: if the server hangs up instead.
        """
        with bridgeio.fail_after(self._patience):
            self._writer.write(request.encode() + b"\n")
            line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the lockers have hung up")
        return line.decode().rstrip("\n")


async def ask_all(port, requests, patience=10.0):
    """The answers to requests that are asked one after the other."""
    with bridgeio.fail_after(patience):
        reader, writer = await bridgeio.open_connection("127.0.0.1", port)
    async with writer:
        client = Client(reader, writer, patience)
        return [await client.ask(request) for request in requests]


def main():
    parser = argparse.ArgumentParser(description="Asks the lockers.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends())
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds that an answer may take")
    parser.add_argument("requests", nargs="+")
    options = parser.parse_args()
    try:
        for answer in bridgeio.run(ask_all, options.port, options.requests, options.patience, backend=options.backend):
            print(answer)
    except OSError as error:  # a TimeoutError is one, too
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    main()
