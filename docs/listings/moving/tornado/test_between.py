"""The new handler in Tornado's own test case, over the old class.

python -m unittest test_between
"""

from functools import partial

from before import Lockers
from between import serve_client
from tornado.testing import AsyncTestCase, gen_test

import bridgeio


class NewHandlerTest(AsyncTestCase):
    @gen_test
    async def test_a_text_comes_back(self):
        handler = partial(serve_client, Lockers(), 60.0)
        async with bridgeio.serve(handler, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                writer.write(b"PUT 7 hello\nTAKE 7 0\nQUIT\n")
                self.assertEqual([line async for line in reader], [b"OK\n", b"TEXT hello\n", b"BYE\n"])
