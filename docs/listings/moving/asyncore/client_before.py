"""Asks the lockers, and prints what they answer.

python client_before.py --port 7000 "PUT 7 hello" "TAKE 7 0"
"""

import argparse
import sys
import warnings
from time import monotonic

warnings.filterwarnings("ignore", "The asyn", DeprecationWarning)  # Python 3.11 says that these will go with 3.12

import asynchat  # noqa: E402
import asyncore  # noqa: E402


class Client(asynchat.async_chat):
    """One connection. An answer, or the failure, is given to the callback of its request."""

    def __init__(self, port):
        super().__init__()
        self._buffer = bytearray()
        self._callback = None
        self.set_terminator(b"\n")
        self.create_socket()
        self.connect(("127.0.0.1", port))

    def ask(self, request, callback):
        self._callback = callback
        self.push(request.encode() + b"\n")

    def collect_incoming_data(self, data):
        self._buffer += data

    def found_terminator(self):
        answer = self._buffer.decode()
        self._buffer.clear()
        self._finish(answer, None)

    def handle_connect(self):
        pass

    def handle_error(self):
        self._fail(sys.exc_info()[1])

    def handle_close(self):
        self._fail(ConnectionError("the lockers have hung up"))

    def _fail(self, error):
        self.close()
        self._finish(None, error)

    def _finish(self, answer, error):
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(answer, error)


class Conversation:
    """Asks one request after the other."""

    def __init__(self, port, requests, patience):
        self.error = None
        self._requests = iter(requests)
        self._patience = patience
        self._client = Client(port)
        self._go_on()

    def _go_on(self):
        self._deadline = monotonic() + self._patience
        request = next(self._requests, None)
        if request is None:
            self._client.close()
        else:
            self._client.ask(request, self._answered)

    def _answered(self, answer, error):
        if error is not None:
            self.error = error
            return
        print(answer)
        self._go_on()

    def run(self):
        while asyncore.socket_map:
            left = self._deadline - monotonic()
            if left <= 0:
                self.error = TimeoutError("timed out")
                self._client.close()
                return
            asyncore.loop(timeout=left, use_poll=True, count=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Asks the lockers.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds that an answer may take")
    parser.add_argument("requests", nargs="+")
    options = parser.parse_args()
    try:
        conversation = Conversation(options.port, options.requests, options.patience)
        conversation.run()
        error = conversation.error
    except OSError as refused:
        error = refused
    if error is not None:
        sys.exit(f"no answer: {error}")
