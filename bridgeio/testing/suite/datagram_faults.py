"""Chapter: faults of datagrams. What goes wrong is told, once, to whom it concerns; what is lost is counted."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.datagram_peers import RawDatagrams, dead_address
from bridgeio.testing.resources import unchanged, until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio


def _address(sock: bridgeio.UDPSocket | bridgeio.ConnectedUDPSocket) -> Any:
    return sock.get_extra_info("sockname")


@asynccontextmanager
async def _with_peer(host: str = "127.0.0.1") -> AsyncIterator[tuple[bridgeio.UDPSocket, RawDatagrams]]:
    """A UDP socket of bridgeio's, and a raw one."""
    with RawDatagrams((host, 0)) as peer:
        async with await bridgeio.create_udp_socket(local_host=host) as udp:
            yield udp, peer


async def test_a_refusal_is_told_once() -> None:
    """A connected socket hears that nobody listens, from its next receive or send, and lives on."""
    address = dead_address()
    async with await bridgeio.create_connected_udp_socket(*address) as udp:
        await udp.send(b"to nobody")
        with pytest.raises(ConnectionRefusedError, match=f"receive from 127.0.0.1:{address[1]}"):
            await udp.receive()
        await udp.send(b"to nobody again")
        with pytest.raises(ConnectionRefusedError, match=f"send 5 bytes to 127.0.0.1:{address[1]}"):
            await _send_until_refused(udp)
        with RawDatagrams(address) as peer:
            await _send_when_all_is_told(udp, b"to somebody")
            assert (await peer.receive())[0] == b"to somebody"
            peer.send(b"answer", _address(udp))
            assert await udp.receive() == b"answer"


async def _send_when_all_is_told(udp: bridgeio.ConnectedUDPSocket, data: bytes) -> None:
    """A machine that stood still may have more than one refusal on its way."""
    while True:
        try:
            return await udp.send(data)
        except ConnectionRefusedError:
            await bridgeio.sleep(0.01)


async def _send_until_refused(udp: bridgeio.ConnectedUDPSocket) -> None:
    while True:
        await udp.send(b"again")
        await bridgeio.sleep(0.001)


async def test_a_refusal_wakes_who_waits() -> None:
    """A task that waits for a datagram is told that none can come."""
    told: list[BaseException] = []
    udp = await bridgeio.create_connected_udp_socket(*dead_address())

    async def receive() -> None:
        try:
            await udp.receive()
        except ConnectionRefusedError as error:
            told.append(error)

    async with udp, bridgeio.create_task_group() as group:
        group.start_soon(receive)
        await until(lambda: udp._source.reader is not None)
        await udp.send(b"to nobody")
        await until(lambda: told)


async def test_a_refusal_is_nobody_elses() -> None:
    """On a socket that is not connected no call hears of another's datagram: neither a send, nor a receive."""
    async with _with_peer() as (udp, peer):
        for _ in range(10):
            await udp.sendto(b"to nobody", *dead_address())
            await bridgeio.sleep(0.001)
            await udp.sendto(b"to somebody", *peer.address)
            assert (await peer.receive())[0] == b"to somebody"
            peer.send(b"answer", _address(udp))
            assert (await udp.receive())[0] == b"answer"


async def test_what_the_kernel_drops_is_counted() -> None:
    """Datagrams that come faster than they are received: each is received or counted as dropped, also after close."""
    async with _with_peer() as (udp, peer):
        if udp.statistics().dropped is None:
            pytest.skip("this system does not tell what it drops")
        udp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for _ in range(200):
            peer.send(bytes(500), _address(udp))
        dropped = udp.statistics().dropped
        assert dropped is not None
        assert 0 < dropped < 200
        for _ in range(200 - dropped):
            await udp.receive()
        with bridgeio.move_on_after(0.02) as none_left:
            await udp.receive()
        assert none_left.cancelled_caught
        udp.close()
        assert (udp.statistics().dropped, udp.statistics().received) == (dropped, 200 - dropped)


async def test_no_datagram_is_cut_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is larger than what is asked of the kernel is an error, and not its beginning; the next is whole."""
    monkeypatch.setattr("bridgeio.datagrams.DATAGRAM_MAX", 10)
    async with _with_peer() as (udp, peer):
        for size in (10, 11, 1000, 10):
            peer.send(bytes(size), _address(udp))
        assert len((await udp.receive())[0]) == 10
        for _ in range(2):
            with pytest.raises(OSError, match=f"more than 10 bytes came.*127.0.0.1:{peer.port}") as caught:
                await udp.receive()
            assert caught.value.errno == errno.EMSGSIZE
        assert len((await udp.receive())[0]) == 10


async def test_a_datagram_socket_of_another_run(socket_folder: Path) -> None:
    """A task of another run that would have to wait for a datagram, or for room, is told so: nobody could wake it."""
    told: list[BaseException] = []
    path = str(socket_folder / "full")
    udp = await bridgeio.create_udp_socket(local_host="127.0.0.1")
    with RawDatagrams(path):
        unix = await bridgeio.create_connected_unix_datagram_socket(path)

        async def use() -> None:
            for operation in (udp.receive(), _send_until_full(unix)):
                with pytest.raises(bridgeio.SharedBetweenRunsError, match="another run or loop") as refusal:
                    await operation
                told.append(refusal.value)

        async with udp, unix:
            original("_thread", "start_new_thread")(partial(bridgeio.run, backend="threads"), (use,))
            await until(lambda: len(told) == 2)


async def _send_until_full(sock: bridgeio.ConnectedUNIXDatagramSocket) -> None:
    while True:
        await sock.send(b"filling")


async def test_a_task_that_waits_for_a_datagram() -> None:
    """Whoever looks at a task that hangs sees where it waits."""
    async with _with_peer() as (udp, _), bridgeio.create_task_group() as group:
        group.start_soon(udp.receive)
        await until(lambda: udp._source.reader is not None)
        assert f"receiving at 127.0.0.1:{_address(udp)[1]}" in bridgeio.dump_tasks()
        group.cancel_scope.cancel()


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "no family": (lambda udp: bridgeio.create_udp_socket(), ValueError, "family"),
    "another family": (lambda udp: bridgeio.create_udp_socket(socket.AF_UNIX), ValueError, "AF_INET"),
    "another family, connected": (
        lambda udp: bridgeio.create_connected_udp_socket("127.0.0.1", 9, family=socket.AF_UNIX),
        ValueError,
        "AF_INET",
    ),
    "a port that cannot be": (lambda udp: udp.sendto(b"", "127.0.0.1", 65536), ValueError, "65535"),
    "a local port that cannot be": (
        lambda udp: bridgeio.create_udp_socket(socket.AF_INET, local_port=-1),
        ValueError,
        "65535",
    ),
    "text for data": (lambda udp: udp.sendto("text", "127.0.0.1", 9), TypeError, "bytes"),
    "data without an address": (lambda udp: udp.send(b"data"), TypeError, "pair of data and address"),
    "a host for an address": (lambda udp: udp.send((b"", "127.0.0.1")), TypeError, "pair of data and address"),
    "a number for a host": (lambda udp: udp.sendto(b"", 127, 9), TypeError, "host"),
    "no host": (lambda udp: udp.sendto(b"", None, 9), TypeError, "host.*not None"),
    "no host in an address": (lambda udp: udp.send((b"", (None, 9))), TypeError, "host.*not None"),
    "no host to connect to": (
        lambda udp: bridgeio.create_connected_udp_socket(None, 9),  # type: ignore[arg-type]
        TypeError,
        "host.*not None",
    ),
    "no text for a host": (lambda udp: udp.sendto(b"", "\udc80", 9), socket.gaierror, "no valid host name"),
    "a null character": (lambda udp: udp.sendto(b"", "127.0.0.1\0", 9), socket.gaierror, "null character"),
    "no port": (lambda udp: udp.send((b"", ("127.0.0.1",))), TypeError, "pair of data and address"),
    "a text for a port": (lambda udp: udp.sendto(b"", "127.0.0.1", "9"), TypeError, "int"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_arguments_for_datagrams(what: str) -> None:
    """They are refused at once, in words that help, and leave nothing behind."""
    call, kind, words = WRONG[what]
    async with unchanged(), _with_peer() as (udp, _):
        with pytest.raises(kind, match=words):
            await call(udp)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
