"""The new handler, and the new lockers as the old code knows them, under trial in plain threads.

python -m unittest test_between
"""

import socket
from concurrent.futures import ThreadPoolExecutor
from unittest import TestCase

from before import ClosedError
from between import Ending, Lockers, LockersForThreads, serve_client

import bridgeio


class BetweenTests(TestCase):
    def setUp(self):
        self.lockers = Lockers()
        self.ending = Ending()
        self.threads = self.enterContext(ThreadPoolExecutor())

    def test_the_new_handler(self):
        ours, theirs = socket.socketpair()
        served = self.threads.submit(self.serve, ours)
        with theirs, theirs.makefile("rb") as lines:
            theirs.sendall(b"PUT 7 hello\nTAKE 7 0\nQUIT\n")
            self.assertEqual(lines.readlines(), [b"OK\n", b"TEXT hello\n", b"BYE\n"])
        served.result()

    @bridgeio.blocking
    async def serve(self, sock):
        reader, writer = bridgeio.wrap(sock)
        async with writer:
            await serve_client(self.lockers, 60.0, reader, writer)

    def test_the_lockers_for_old_threads(self):
        lockers = LockersForThreads(self.lockers, self.ending)
        taking = self.threads.submit(lockers.take, 7, 60.0)
        self.assertTrue(lockers.put(7, b"hello"))
        self.assertEqual(taking.result(), b"hello")

    def test_the_end_of_all_waits(self):
        lockers = LockersForThreads(self.lockers, self.ending)
        taking = [self.threads.submit(lockers.take, number, 60.0) for number in range(3)]
        bridgeio.blocking(self.ending.end)()
        for waiting in taking:
            self.assertIsInstance(waiting.exception(), ClosedError)
