"""Asks the lockers, and prints what they answer.

python client_before.py --port 7000 "PUT 7 hello" "TAKE 7 0"
"""

import argparse
import sys

import gevent
from gevent.socket import create_connection


class Client:
    """One connection, for one greenlet."""

    def __init__(self, sock, patience):
        self._sock = sock
        self._lines = sock.makefile("rb")
        self._patience = patience

    def ask(self, request):
        """The answer to one request."""
        with gevent.Timeout(self._patience, TimeoutError("the lockers are silent")):
            self._sock.sendall(request.encode() + b"\n")
            line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the lockers have hung up")
        return line.decode().rstrip("\n")


def ask_all(port, requests, patience):
    """The answers to requests that are asked one after the other."""
    with create_connection(("127.0.0.1", port), timeout=patience) as sock:
        client = Client(sock, patience)
        return [client.ask(request) for request in requests]


def main():
    parser = argparse.ArgumentParser(description="Asks the lockers.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds that an answer may take")
    parser.add_argument("requests", nargs="+")
    options = parser.parse_args()
    try:
        for answer in ask_all(options.port, options.requests, options.patience):
            print(answer)
    except OSError as error:  # a TimeoutError is one, too
        sys.exit(f"no answer: {error}")


if __name__ == "__main__":
    main()
