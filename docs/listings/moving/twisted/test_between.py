"""The new handler under trial, over the old service.

python -m twisted.trial test_between
"""

from functools import partial

from before import Lockers
from between import serve_client
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

import bridgeio
from bridgeio_twisted import as_deferred


class NewHandlerTests(TestCase):
    def test_a_text_comes_back(self):
        return as_deferred(self.put_and_take())

    async def put_and_take(self):
        handler = partial(serve_client, Lockers(reactor), 60.0)
        async with bridgeio.serve(handler, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                writer.write(b"PUT 7 hello\nTAKE 7 0\nQUIT\n")
                self.assertEqual([line async for line in reader], [b"OK\n", b"TEXT hello\n", b"BYE\n"])
