"""``socat`` as a peer of bridgeio's datagram sockets, on every backend."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

import bridgeio
from bridgeio.testing.resources import until
from needs import program

pytestmark = pytest.mark.bridgeio

T = TypeVar("T")

TEXT = b"a datagram from a program\n"


class Program:
    """A program that writes what it receives, and sends what it reads. It is asked without waiting for it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin = process.stdin
        self._output = process.stdout.fileno()
        os.set_blocking(self._output, False)

    def say(self, data: bytes) -> None:
        self._stdin.write(data)
        self._stdin.flush()

    async def said(self, ending: bytes) -> bytes:
        """What it writes, up to this ending."""
        data = bytearray()

        def is_there() -> bool:
            try:
                data.extend(os.read(self._output, 1))
            except BlockingIOError:
                assert self._process.poll() is None, "the program has ended"
            return data.endswith(ending)

        await until(is_there)
        return bytes(data)


@contextmanager
def socat(address: str) -> Iterator[Program]:
    command = [program("socat"), "-", address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


async def test_socat_asks() -> None:
    """What it sends comes whole, and it gets the answer."""
    async with await bridgeio.create_udp_socket(local_host="127.0.0.1") as udp:
        with socat(f"UDP4:127.0.0.1:{udp.get_extra_info('sockname')[1]}") as peer:
            for _ in range(3):
                peer.say(TEXT)
                data, (host, port) = await udp.receive()
                assert (data, host) == (TEXT, "127.0.0.1")
                await udp.sendto(data.upper(), host, port)
                assert await peer.said(b"\n") == TEXT.upper()


async def test_socat_answers() -> None:
    """Until it listens a connected socket is refused, and lives on; from then on they talk."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with await bridgeio.create_connected_udp_socket("127.0.0.1", port) as udp:
        with socat(f"UDP4-LISTEN:{port},bind=127.0.0.1") as peer:
            async with bridgeio.create_task_group() as group:
                group.start_soon(send_again_and_again, udp)
                await peer.said(TEXT)
                group.cancel_scope.cancel()
            peer.say(TEXT.upper())
            assert await unless_refused(udp.receive) == TEXT.upper()
            await udp.send(b"the last\n")
            await peer.said(b"the last\n")


async def send_again_and_again(udp: bridgeio.ConnectedUDPSocket) -> None:
    while True:
        await unless_refused(lambda: udp.send(TEXT))
        await bridgeio.sleep(0.02)


async def unless_refused(call: Callable[[], Awaitable[T]]) -> T:
    """Until the program listens it may be refused, and the last refusal may come late."""
    while True:
        try:
            return await call()
        except ConnectionRefusedError:
            await bridgeio.sleep(0.01)


async def test_socat_on_unix_datagrams(socket_folder: Path) -> None:
    """Its path comes with what it sends, and it can be answered there."""
    ours, theirs = str(socket_folder / "ours"), str(socket_folder / "theirs")
    async with await bridgeio.create_unix_datagram_socket(local_path=ours) as sock:
        with socat(f"UNIX-SENDTO:{ours},bind={theirs}") as peer:
            peer.say(TEXT)
            assert await sock.receive() == (TEXT, theirs)
            await sock.sendto(TEXT.upper(), theirs)
            assert await peer.said(b"\n") == TEXT.upper()
        async with await bridgeio.create_connected_unix_datagram_socket(ours) as client:
            await client.send(TEXT)
            assert await sock.receive() == (TEXT, "")
