"""Asks the lockers, and prints what they answer.

python client_before.py --port 7000 "PUT 7 hello" "TAKE 7 0"
"""

import argparse
import socket
import sys


class Client:
    """One connection, for one thread."""

    def __init__(self, port, patience=10.0):
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self._lines = self._sock.makefile("rb")

    def ask(self, request):
        """The answer to one request.

        :raises TimeoutError: if there is none in time; the connection is of no use then.
        :raises ConnectionError: if the server hangs up instead.
        """
        self._sock.sendall(request.encode() + b"\n")
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the lockers have hung up")
        return line.decode().rstrip("\n")

    def close(self):
        self._lines.close()
        self._sock.close()


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
