"""Serving what a framework's own server has accepted, and old code that answers with Deferreds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import Peer, is_over
from bridgeio.testing.resources import until
from native_servers import SERVERS, shout, twisted_endpoint
from needs import absent


@pytest.mark.parametrize("name", SERVERS)
def test_a_frameworks_own_server(name: str, socket_folder: Path) -> None:
    """Many connections: each gets its answers, a failing one is reported, and one that is left is ended."""
    backend, serving = SERVERS[name]
    if backend not in bridgeio.available_backends():
        absent(f"{backend} is not installed")
    failures: list[Exception] = []
    ended: list[bridgeio.Writer] = []

    async def counted(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        try:
            await shout(reader, writer)
        finally:
            ended.append(writer)

    serve = partial(bridgeio.serve_stream, counted, on_error=lambda error, peer: failures.append(error))

    async def main() -> None:
        with bridgeio.fail_after(25):
            async with serving(serve, socket_folder) as address:
                for number in range(10):
                    with Peer.connect(address) as peer:
                        peer.send(b"hello %d\n" % number)
                        answer = b"welcome\nHELLO %d\n" % number
                        assert await peer.receive(len(answer)) == answer
                        peer.half_close()
                        assert await peer.receive_all() == b""
                with Peer.connect(address) as peer:
                    peer.send(b"fail\n")
                    assert await peer.receive_all() == b"welcome\n"
                await until(lambda: failures)
                left = Peer.connect(address)
                assert await left.receive(8) == b"welcome\n"
                left.half_close()
                assert await is_over(left)
                left.close()
                await until(lambda: len(ended) == 12)  # or the end of the run would end them

    bridgeio.run(main, backend=backend)
    assert [type(error) for error in failures] == [LookupError]


def test_the_handlers_of_a_twisted_endpoint_end() -> None:
    """A factory's ``cancel`` ends the handlers, and its Deferred fires after their cleanup."""
    if "twisted" not in bridgeio.available_backends():
        absent("Twisted is not installed")
    seen: list[str] = []

    async def wait(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        seen.append("started")
        try:
            await reader.read()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.01)
                seen.append("cleaned up")

    async def main() -> None:
        async with twisted_endpoint(partial(bridgeio.serve_stream, wait), Path()) as address:
            peer = Peer.connect(address)
            await until(lambda: seen)
        with peer:
            assert seen == ["started", "cleaned up"]
            assert await is_over(peer)

    bridgeio.run(main, backend="twisted")


def test_a_service_that_answers_with_deferreds() -> None:
    """A class of the user's whose methods return Deferreds is awaited in a handler; so is one that fails."""
    pytest.importorskip("twisted")
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, inlineCallbacks
    from twisted.internet.task import deferLater

    from bridgeio_twisted import as_deferred

    class Prices:
        """As it has always been."""

        def of(self, fruit: str) -> Deferred[int]:
            return deferLater(reactor, 0.001, {"apple": 3, "pear": 4}.__getitem__, fruit)

        @inlineCallbacks
        def both(self) -> Any:
            apple = yield self.of("apple")
            pear = yield self.of("pear")
            return apple + pear

    async def sell(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        prices = Prices()
        writer.write(b"%d\n" % await prices.both())
        async for line in reader:
            try:
                writer.write(b"%d\n" % await prices.of(line.decode().strip()))
            except KeyError:
                writer.write(b"none\n")

    async def main() -> None:
        async with twisted_endpoint(partial(bridgeio.serve_stream, sell), Path()) as address:
            with Peer.connect(address) as peer:
                peer.send(b"apple\npear\nplum\n")
                assert await peer.receive(11) == b"7\n3\n4\nnone\n"
        assert await as_deferred(_priced(Prices())) == 3

    async def _priced(prices: Prices) -> int:
        return await prices.of("apple")

    bridgeio.run(main, backend="twisted")
