"""Asks the lockers, and prints what they answer: the old class for callers that block, with the new code inside.

python client_between.py --port 7000 "PUT 7 hello" "TAKE 7 0"
"""

import argparse
import sys

import bridgeio


class Client:
    """One connection, for one thread or one task: each method has its `blocking` twin."""

    def __init__(self, port, patience=10.0):
        self._patience = patience
        self._reader, self._writer = self._connect(port)

    async def _connect_soon(self, port):
        with bridgeio.fail_after(self._patience):
            return await bridgeio.open_connection("127.0.0.1", port)

    async def ask_soon(self, request):
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

    async def close_soon(self):
        self._writer.close()
        await self._writer.wait_closed()

    _connect = bridgeio.blocking(_connect_soon)
    ask = bridgeio.blocking(ask_soon)
    close = bridgeio.blocking(close_soon)


def main(port, requests, patience):
    try:
        client = Client(port, patience)
        try:
            for request in requests:
                print(client.ask(request))
        finally:
            client.close()
    except OSError as error:
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Asks the lockers.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds that an answer may take")
    parser.add_argument("requests", nargs="+")
    options = parser.parse_args()
    main(options.port, options.requests, options.patience)
