"""Chapter: datagrams. UDP sockets against raw ones: what is sent comes whole, and once, to whoever is to have it."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.contract import AddressInfo
from bridgeio.testing.datagram_peers import RawDatagrams
from bridgeio.testing.peers import has_ipv6
from bridgeio.testing.resources import unchanged, until

pytestmark = pytest.mark.bridgeio

LOOPBACKS = {"ipv4": "127.0.0.1", "ipv6": "::1"}


def _loopback(family: str) -> str:
    if family == "ipv6" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    return LOOPBACKS[family]


def _address(sock: bridgeio.UDPSocket | bridgeio.ConnectedUDPSocket) -> Any:
    return sock.get_extra_info("sockname")


@asynccontextmanager
async def _with_peer(host: str = "127.0.0.1") -> AsyncIterator[tuple[bridgeio.UDPSocket, RawDatagrams]]:
    """A UDP socket of bridgeio's, and a raw one."""
    with RawDatagrams((host, 0)) as peer:
        async with await bridgeio.create_udp_socket(local_host=host) as udp:
            yield udp, peer


@asynccontextmanager
async def _connected(host: str = "127.0.0.1") -> AsyncIterator[tuple[bridgeio.ConnectedUDPSocket, RawDatagrams]]:
    """A UDP socket of bridgeio's that is connected to a raw one."""
    with RawDatagrams((host, 0)) as peer:
        async with await bridgeio.create_connected_udp_socket(host, peer.port) as udp:
            yield udp, peer


# There and back


@pytest.mark.parametrize("family", LOOPBACKS)
async def test_a_datagram_there_and_back(family: str) -> None:
    """Its sender comes with it, as host and port, and can be answered there."""
    host = _loopback(family)
    async with unchanged(), _with_peer(host) as (udp, peer):
        peer.send(b"question", _address(udp))
        data, address = await udp.receive()
        assert (data, address) == (b"question", (host, peer.port))
        await udp.sendto(b"answer", *address)
        assert await peer.receive() == (b"answer", _address(udp))
        await udp.send((b"another", address))
        assert (await peer.receive())[0] == b"another"


@pytest.mark.parametrize("family", LOOPBACKS)
async def test_a_connected_socket(family: str) -> None:
    """It sends to its peer, and receives from its peer alone."""
    host = _loopback(family)
    async with unchanged(), _connected(host) as (udp, peer):
        with RawDatagrams((host, 0)) as stranger:
            stranger.send(b"of a stranger", _address(udp))
        await udp.send(b"question")
        assert await peer.receive() == (b"question", _address(udp))
        peer.send(b"answer", _address(udp))
        assert await udp.receive() == b"answer"
        assert udp.get_extra_info("peername") == peer.address


async def test_a_loop_over_datagrams() -> None:
    """``async for`` gives one after the other, in their order, for as long as the loop goes on."""
    async with _with_peer() as (udp, peer), _connected() as (connected, its_peer):
        for number in range(3):
            peer.send(b"%d" % number, _address(udp))
            its_peer.send(b"%d" % number, _address(connected))
        got = []
        async for data, (host, port) in udp:
            got.append((data, host, port))
            if len(got) == 3:
                break
        assert got == [(b"%d" % number, "127.0.0.1", peer.port) for number in range(3)]
        assert [await anext(connected) for _ in range(3)] == [b"0", b"1", b"2"]


async def test_empty_datagrams() -> None:
    """They are datagrams, sent and received, and no end of anything."""
    async with _with_peer() as (udp, peer), _connected() as (connected, its_peer):
        peer.send(b"", _address(udp))
        assert await udp.receive() == (b"", peer.address)
        await udp.sendto(b"", *peer.address)
        assert await peer.receive() == (b"", _address(udp))
        await connected.send(b"")
        assert await its_peer.receive() == (b"", _address(connected))
        its_peer.send(b"", _address(connected))
        its_peer.send(b"and on", _address(connected))
        assert [await connected.receive(), await connected.receive()] == [b"", b"and on"]


@pytest.mark.parametrize(("family", "most"), [("ipv4", 65507), ("ipv6", 65527)])
async def test_the_largest_datagrams(family: str, most: int) -> None:
    """The largest that UDP has come whole; one byte more is an error that says so, and the socket lives on."""
    host = _loopback(family)
    async with _with_peer(host) as (udp, peer):
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        peer.send(bytes(most), _address(udp))
        data, address = await udp.receive()
        assert (len(data), address[1]) == (most, peer.port)
        await udp.sendto(bytearray(most), host, peer.port)
        assert len((await peer.receive())[0]) == most
        with pytest.raises(OSError, match=f"send {most + 1} bytes to .*{peer.port}.*at most") as caught:
            await udp.sendto(bytes(most + 1), host, peer.port)
        assert caught.value.errno == errno.EMSGSIZE
        await udp.sendto(memoryview(b"small"), host, peer.port)
        assert (await peer.receive())[0] == b"small"


async def test_many_datagrams_at_once() -> None:
    """All that came in one go are received, in their order: one event stands for any number of them."""
    async with _with_peer() as (udp, peer):
        for repeat in range(3):
            for number in range(100):
                peer.send(b"%d" % number, _address(udp))
            got = [(await udp.receive())[0] for _ in range(100)]
            assert got == [b"%d" % number for number in range(100)], repeat


async def test_a_receive_that_waits() -> None:
    """It goes on when a datagram comes, again and again."""
    async with _with_peer() as (udp, peer), bridgeio.create_task_group() as group:
        got: list[bytes] = []

        async def receive() -> None:
            while len(got) < 20:
                got.append((await udp.receive())[0])

        group.start_soon(receive)
        for number in range(20):
            while len(got) < number or udp._source.reader is None:
                await bridgeio.sleep(0.001)
            peer.send(b"%d" % number, _address(udp))
    assert got == [b"%d" % number for number in range(20)]


# Names and addresses


async def test_a_peer_by_name() -> None:
    """A name is looked up, in the family of the socket."""
    with RawDatagrams() as peer:
        async with await bridgeio.create_udp_socket(socket.AF_INET) as udp:
            await udp.sendto(b"by name", "localhost", peer.port)
            assert (await peer.receive())[0] == b"by name"
        async with await bridgeio.create_connected_udp_socket("localhost", peer.port, family=socket.AF_INET) as udp:
            await udp.send(b"connected by name")
            assert (await peer.receive())[0] == b"connected by name"


async def test_an_address_of_the_other_family() -> None:
    """It is the error of a name that does not resolve, and names the address."""
    async with await bridgeio.create_udp_socket(socket.AF_INET) as udp:
        with pytest.raises(socket.gaierror, match="resolve '::1'"):
            await udp.sendto(b"", "::1", 9)


async def test_a_local_address_and_port() -> None:
    """A socket has the address that was asked for, connected or not; an address in use is an error that names it."""
    async with unchanged():
        async with await bridgeio.create_udp_socket(local_host="127.0.0.1") as udp:
            host, port = _address(udp)
            assert host == "127.0.0.1"
            with pytest.raises(OSError, match=f"bind a UDP socket to 127.0.0.1:{port}") as caught:
                await bridgeio.create_udp_socket(local_host="127.0.0.1", local_port=port)
            assert caught.value.errno == errno.EADDRINUSE
        async with await bridgeio.create_udp_socket(socket.AF_INET, local_port=port) as udp:
            assert _address(udp) == ("0.0.0.0", port)
        with RawDatagrams() as peer:
            async with await bridgeio.create_connected_udp_socket(
                "127.0.0.1", peer.port, local_host="127.0.0.1", local_port=port
            ) as connected:
                await connected.send(b"")
                assert (await peer.receive())[1] == ("127.0.0.1", port)


async def test_ipv6_alone() -> None:
    """An IPv6 socket leaves the same port of IPv4 to others, on every system."""
    _loopback("ipv6")
    async with await bridgeio.create_udp_socket(socket.AF_INET6) as udp:
        port = _address(udp)[1]
        with RawDatagrams(("0.0.0.0", port)) as peer:
            peer.send(b"to myself", ("127.0.0.1", port))
            assert (await peer.receive())[0] == b"to myself"


async def test_the_first_address_that_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name's addresses the first that this machine has, or that can be reached from here, is taken."""
    with RawDatagrams() as peer:

        async def resolve(host: Any, port: int, **how: Any) -> list[AddressInfo]:
            elsewhere = ("192.0.2.254" if host == "local.test" else "255.255.255.255", port)
            hosts = [elsewhere, ("127.0.0.1", port)]
            return [(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP, "", address) for address in hosts]

        monkeypatch.setattr("bridgeio.udp.resolve", resolve)
        async with await bridgeio.create_udp_socket(local_host="local.test") as udp:
            assert _address(udp)[0] == "127.0.0.1"
        async with await bridgeio.create_connected_udp_socket("remote.test", peer.port) as connected:
            assert connected.get_extra_info("peername") == peer.address


async def test_a_connect_to_nowhere() -> None:
    """An address that cannot be reached from here is a ConnectError, which has each address's own; nothing is left."""
    async with unchanged():
        with pytest.raises(bridgeio.ConnectError, match="local_host has no address") as caught:
            await bridgeio.create_connected_udp_socket("127.0.0.1", 9, local_host="::1")
        assert [address for address, _ in caught.value.errors] == [("127.0.0.1", 9)]
        with pytest.raises(OSError, match="bind a UDP socket"):
            await bridgeio.create_udp_socket(local_host="192.0.2.254")


async def test_a_shared_port() -> None:
    """With ``reuse_port`` on each of them, two sockets have one port, and what is sent there comes to one of them."""
    if not hasattr(socket, "SO_REUSEPORT"):
        pytest.skip("this system has no SO_REUSEPORT")
    async with await bridgeio.create_udp_socket(local_host="127.0.0.1", reuse_port=True) as one:
        port = _address(one)[1]
        async with await bridgeio.create_udp_socket(local_host="127.0.0.1", local_port=port, reuse_port=True) as two:
            got: list[bytes] = []

            async def receive(udp: bridgeio.UDPSocket) -> None:
                async for data, _ in udp:
                    got.append(data)

            with RawDatagrams() as peer:
                async with bridgeio.create_task_group() as group:
                    group.start_soon(receive, one)
                    group.start_soon(receive, two)
                    for number in range(10):
                        peer.send(b"%d" % number, ("127.0.0.1", port))
                    await until(lambda: len(got) == 10)
                    group.cancel_scope.cancel()
            assert sorted(got) == [b"%d" % number for number in range(10)]


async def test_a_stranger_before_the_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes between the bind and the connect of a connected socket is not its peer's, and is left out."""
    with RawDatagrams() as peer, RawDatagrams() as stranger:
        monkeypatch.setattr("bridgeio.sockets.new_socket", _bound_late(stranger))
        async with await bridgeio.create_connected_udp_socket("127.0.0.1", peer.port, local_host="127.0.0.1") as udp:
            peer.send(b"mine", _address(udp))
            assert await udp.receive() == b"mine"
            assert udp.statistics().strangers == 3


def _bound_late(stranger: RawDatagrams) -> Any:
    from bridgeio.sockets import new_socket

    def new(*args: Any) -> Any:
        sock = new_socket(*args)
        late = _Late(fileno=sock.detach())
        late.stranger = stranger
        return late

    return new


class _Late(socket._socket.socket):  # type: ignore[name-defined, misc]
    """A socket whose binding takes some time, in which others send to it."""

    stranger: RawDatagrams

    def bind(self, address: Any) -> None:
        super().bind(address)
        for _ in range(3):
            self.stranger.send(b"early", self.getsockname())


# Several tasks


async def test_one_receiver_at_a_time() -> None:
    """A second task that receives gets BusyError, and the first is not disturbed."""
    async with _with_peer() as (udp, peer), bridgeio.create_task_group() as group:
        got: list[bytes] = []

        async def receive() -> None:
            got.append((await udp.receive())[0])

        group.start_soon(receive)
        await until(lambda: udp._source.reader is not None)
        with pytest.raises(bridgeio.BusyError, match=f"receiving at 127.0.0.1:{_address(udp)[1]}"):
            await udp.receive()
        peer.send(b"for the first", _address(udp))
        await until(lambda: got)
        peer.send(b"for anybody", _address(udp))
        await receive()
    assert got == [b"for the first", b"for anybody"]


async def test_many_senders() -> None:
    """Any number of tasks may send at once, while another receives; each datagram comes whole, once."""
    async with _with_peer() as (udp, peer), bridgeio.create_task_group() as group:
        expected = {b"%d " % number * 100 for number in range(50)}
        answered: list[bytes] = []

        async def receive() -> None:
            answered.append((await udp.receive())[0])

        group.start_soon(receive)
        for data in expected:
            group.start_soon(udp.sendto, data, "127.0.0.1", peer.port)
        assert {(await peer.receive())[0] for _ in expected} == expected
        peer.send(b"answer", _address(udp))
        await until(lambda: answered)


@pytest.mark.bridgeio_promise(2)
async def test_a_cancelled_receive_loses_nothing() -> None:
    """What comes while a receive is being cancelled, or after it, is there for the next one."""
    async with _with_peer() as (udp, peer):
        for number in range(20):
            got: list[bytes] = []
            with bridgeio.CancelScope() as scope:
                async with bridgeio.create_task_group() as group:
                    group.start_soon(_receive_into, got, udp)
                    await until(lambda: udp._source.reader is not None)
                    if number % 2:
                        scope.cancel()
                    peer.send(b"%d" % number, _address(udp))
                    scope.cancel()
            if not got:
                await _receive_into(got, udp)
            assert got == [b"%d" % number]


async def _receive_into(got: list[bytes], udp: bridgeio.UDPSocket) -> None:
    got.append((await udp.receive())[0])


@pytest.mark.bridgeio_promise(1)
async def test_a_datagram_in_a_cancelled_scope() -> None:
    """Nothing is sent or received there, though neither would have to wait."""
    async with _with_peer() as (udp, peer):
        peer.send(b"not taken", _address(udp))
        for use in (udp.receive, lambda: udp.sendto(b"not sent", *peer.address)):
            with bridgeio.CancelScope() as scope:
                scope.cancel()
                await use()
            assert scope.cancelled_caught
        assert (await udp.receive())[0] == b"not taken"
        await udp.sendto(b"sent", *peer.address)
        assert (await peer.receive())[0] == b"sent"


async def test_a_flood_lets_others_have_their_turn() -> None:
    """A task that always finds a datagram gives way to others all the same."""
    async with _with_peer() as (udp, peer), bridgeio.create_task_group() as group:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await bridgeio.lowlevel.checkpoint()

        group.start_soon(others)
        await until(lambda: turns)
        before = turns
        for _ in range(200):
            peer.send(b"flood", _address(udp))
            await udp.receive()
        assert turns > before
        group.cancel_scope.cancel()


# The end


async def test_closing_ends_a_wait() -> None:
    """A task that waits for a datagram when the socket is closed raises, and so does every use after that."""
    async with unchanged():
        udp = await bridgeio.create_udp_socket(local_host="127.0.0.1")
        caught: list[BaseException] = []

        async def receive() -> None:
            try:
                await udp.receive()
            except bridgeio.StreamClosedError as error:
                caught.append(error)

        async with bridgeio.create_task_group() as group:
            group.start_soon(receive)
            await until(lambda: udp._source.reader is not None)
            await udp.aclose()
        assert "closed by this side" in str(caught[0])
        for use in (udp.receive(), udp.sendto(b"", "127.0.0.1", 9), udp.sendto(b"", "localhost", 9), anext(udp)):
            with pytest.raises(bridgeio.StreamClosedError, match="closed by this side"):
                await use
        with pytest.raises(bridgeio.StreamClosedError):
            udp.set_options(ttl=3)
        udp.close()
        await udp.aclose()


async def test_closing_a_datagram_socket_in_a_cancelled_scope() -> None:
    """The block of a socket closes it, also when it is left by a cancel."""
    async with unchanged():
        with bridgeio.CancelScope() as scope:
            async with _connected() as (udp, _):
                scope.cancel()
                await udp.receive()
        assert scope.cancelled_caught
        with pytest.raises(bridgeio.StreamClosedError):
            await udp.send(b"")


async def test_what_a_closed_socket_still_tells() -> None:
    """Its address and what went through it are known after its end, too."""
    async with _with_peer() as (udp, peer):
        address = _address(udp)
        await udp.sendto(b"", *peer.address)
        peer.send(b"", address)
        await udp.receive()
        udp.close()
        assert _address(udp) == address
        assert udp.get_extra_info("peername", "nobody") == "nobody"
        assert udp.get_extra_info("unheard of") is None
        assert udp.get_extra_info("socket").fileno() == -1
        statistics = udp.statistics()
        assert (statistics.sent, statistics.received, statistics.strangers) == (1, 1, 0)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
