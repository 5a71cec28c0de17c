"""The new handler and the old channels' lockers under trial, each from its own side of the portal.

python -m unittest test_between
"""

import socket
import warnings
from unittest import TestCase

warnings.filterwarnings("ignore", "The asyn", DeprecationWarning)

import asyncore  # noqa: E402

from between import Calls, Lockers, LockersForChannels, serve_client  # noqa: E402

import bridgeio  # noqa: E402
from bridgeio.from_thread import start_blocking_portal  # noqa: E402


class BetweenTests(TestCase):
    def setUp(self):
        self.portal = self.enterContext(start_blocking_portal())
        self.lockers = Lockers()

    def test_the_new_handler(self):
        ours, theirs = socket.socketpair()
        served = self.portal.start_task_soon(self.serve, ours)
        with theirs, theirs.makefile("rb") as lines:
            theirs.sendall(b"PUT 7 hello\nTAKE 7 0\nQUIT\n")
            self.assertEqual(lines.readlines(), [b"OK\n", b"TEXT hello\n", b"BYE\n"])
        served.result()

    async def serve(self, sock):
        reader, writer = bridgeio.wrap(sock)
        async with writer:
            await serve_client(self.lockers, 60.0, reader, writer)

    def test_the_lockers_for_old_channels(self):
        calls = Calls()
        self.addCleanup(calls.hang_up)
        lockers = LockersForChannels(self.lockers, self.portal, calls)
        taken = []
        lockers.take(7, 60.0, taken.append)
        self.assertTrue(lockers.put(7, b"hello"))
        while not taken:
            asyncore.loop(count=1)
        self.assertEqual(taken, [b"hello"])
