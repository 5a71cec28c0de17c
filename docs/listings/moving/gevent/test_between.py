"""The new handler in a synchronous test, over the old class.

python -m unittest test_between
"""

from functools import partial
from unittest import TestCase

from before import Lockers
from between import serve_client
from gevent.socket import socketpair

import bridgeio
import bridgeio_gevent


class NewHandlerTest(TestCase):
    def test_a_text_comes_back(self):
        handler = partial(serve_client, Lockers(), 60.0)
        ours, theirs = socketpair()
        serving = bridgeio_gevent.spawn(bridgeio.serve_stream, handler, theirs)
        with ours, ours.makefile("rb") as lines:
            ours.sendall(b"PUT 7 hello\nTAKE 7 0\nQUIT\n")
            self.assertEqual(lines.readlines(), [b"OK\n", b"TEXT hello\n", b"BYE\n"])
        serving.get()
