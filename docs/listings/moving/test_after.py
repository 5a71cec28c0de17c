"""The new server on every framework that is installed, with bridgeio's plugin for pytest.

pytest test_after.py
"""

from functools import partial

import pytest
from after import Lockers, serve_client

import bridgeio


@pytest.mark.bridgeio
async def test_a_text_comes_back():
    async with bridgeio.serve(partial(serve_client, Lockers(), 60.0), "127.0.0.1") as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        async with writer:
            writer.write(b"PUT 7 hello\nTAKE 7 0\nQUIT\n")
            assert [line async for line in reader] == [b"OK\n", b"TEXT hello\n", b"BYE\n"]


@pytest.mark.bridgeio
async def test_who_gave_up_takes_nothing():
    lockers = Lockers()
    assert await lockers.take(7, 0.01) is None
    assert lockers.put(7, b"hello")
    assert await lockers.take(7, 0) == b"hello"
