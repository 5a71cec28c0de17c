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
from bridgeio import from_thread, lowlevel  # noqa: E402


class BetweenTests(TestCase):
    def setUp(self):
        self.portal = self.enterContext(from_thread.start_blocking_portal())
        self.calls = Calls()
        self.addCleanup(self.calls.hang_up)
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
        lockers = LockersForChannels(self.lockers, self.portal, self.calls)
        taken = []
        lockers.take(7, 60.0, taken.append)
        self.assertTrue(lockers.put(7, b"hello"))
        while not taken:
            asyncore.loop(count=1)
        self.assertEqual(taken, [b"hello"])

    def test_new_code_asks_the_old_thread(self):
        asking = self.portal.start_task_soon(self.number_of_channels)
        while not asking.done():
            asyncore.loop(timeout=0.01, count=1)
        self.assertEqual(asking.result(), 1)

    async def number_of_channels(self):
        token, counted, answer = lowlevel.current_token(), bridgeio.Event(), []

        def count():  # in asyncore's thread
            answer.append(len(asyncore.socket_map))
            from_thread.run_sync(counted.set, token=token)

        self.calls.call_soon(count)
        await counted.wait()
        return answer[0]
