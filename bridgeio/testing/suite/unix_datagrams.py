"""Chapter: UNIX datagrams. Nothing is lost there, so who sends to a full queue waits; and paths that come and go."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.datagram_peers import RawDatagrams
from bridgeio.testing.peers import RawListener
from bridgeio.testing.resources import unchanged, until

pytestmark = pytest.mark.bridgeio


async def test_a_unix_datagram_there_and_back(socket_folder: Path) -> None:
    """The sender's path comes with it, and can be answered there; a path may be a `Path`, a string or bytes."""
    ours, theirs = socket_folder / "ours", str(socket_folder / "theirs")
    async with unchanged():
        with RawDatagrams(theirs) as peer:
            async with await bridgeio.create_unix_datagram_socket(local_path=ours) as sock:
                assert sock.get_extra_info("sockname") == str(ours)
                peer.send(b"question", str(ours))
                data, path = await sock.receive()
                assert (data, path) == (b"question", theirs)
                for same in (path, theirs.encode(), Path(theirs)):
                    await sock.sendto(b"answer", same)
                    assert await peer.receive() == (b"answer", str(ours))
                await sock.send((b"", path))
                assert await peer.receive() == (b"", str(ours))


async def test_a_connected_unix_socket(socket_folder: Path) -> None:
    """It sends to its peer, and receives from its peer alone; an empty datagram is a datagram."""
    ours, theirs = str(socket_folder / "ours"), str(socket_folder / "theirs")
    async with unchanged():
        with RawDatagrams(theirs) as peer, RawDatagrams(str(socket_folder / "other")) as stranger:
            async with await bridgeio.create_connected_unix_datagram_socket(theirs, local_path=ours) as sock:
                with pytest.raises(PermissionError):
                    stranger.send(b"of a stranger", ours)
                await sock.send(b"question")
                assert await peer.receive() == (b"question", ours)
                for data in (b"", b"answer"):
                    peer.send(data, ours)
                assert [await sock.receive(), await anext(sock)] == [b"", b"answer"]
                assert sock.get_extra_info("peername") == theirs


async def test_a_loop_over_unix_datagrams(socket_folder: Path) -> None:
    """``async for`` gives data and path of one after the other. A sender without a path has the empty one."""
    ours = str(socket_folder / "ours")
    with RawDatagrams(str(socket_folder / "theirs")) as named, RawDatagrams(b"") as nameless:
        async with await bridgeio.create_unix_datagram_socket(local_path=ours) as sock:
            named.send(b"1", ours)
            nameless.send(b"2", ours)
            got: list[tuple[bytes, Any]] = []
            async for data, path in sock:
                got.append((data, path))
                if len(got) == 2:
                    break
            assert got == [(b"1", named.address), (b"2", "")]


async def test_an_abstract_name() -> None:
    """On Linux a name that begins with a null byte stands for no file; it has no mode."""
    if sys.platform != "linux":
        pytest.skip("only Linux has abstract names")
    name = f"\0bridgeio-{os.getpid()}"
    async with (
        await bridgeio.create_unix_datagram_socket(local_path=name) as sock,
        await bridgeio.create_connected_unix_datagram_socket(name, local_path=f"{name}-client") as client,
    ):
        await client.send(b"question")
        assert await sock.receive() == (b"question", f"{name}-client".encode())
    with pytest.raises(ValueError, match="abstract name"):
        await bridgeio.create_unix_datagram_socket(local_path=name, local_mode=0o600)


async def test_a_datagram_of_megabytes(socket_folder: Path) -> None:
    """However large a datagram is, it comes whole; one larger than the system allows is an error for its sender."""
    if sys.platform != "linux":
        pytest.skip("only Linux allows datagrams of more than a few kilobytes, and tells how large the next is")
    ours, theirs = str(socket_folder / "ours"), str(socket_folder / "theirs")
    with RawDatagrams(theirs) as peer:
        async with await bridgeio.create_unix_datagram_socket(local_path=ours) as sock:
            for size in (1, 65536, 65537, 150_000, 0):
                peer.send(bytes(size), ours)
                assert len((await sock.receive())[0]) == size
                await sock.sendto(bytes(size), theirs)
                assert len((await peer.receive())[0]) == size
            with pytest.raises(OSError, match=r"send 100000000 bytes to .*theirs.*SO_SNDBUF") as caught:
                await sock.sendto(bytes(100_000_000), theirs)
            assert caught.value.errno == errno.EMSGSIZE


# A full queue


@pytest.mark.parametrize("connected", [False, True], ids=["sendto", "connected"])
async def test_a_send_to_a_full_queue(socket_folder: Path, connected: bool) -> None:
    """It waits, others go on, and it is done as soon as there is room: nothing is lost, nothing comes twice."""
    theirs = str(socket_folder / "theirs")
    with RawDatagrams(theirs) as peer, RawDatagrams(b"") as other:
        async with unchanged(), await _sender(theirs if connected else None) as sock:
            filled = other.fill(theirs)
            async with bridgeio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(_send, sock, b"%d" % number, theirs)
                await bridgeio.sleep(0.02)
                assert [(await peer.receive())[0] for _ in range(filled)] == [b"filling"] * filled
                assert {(await peer.receive())[0] for _ in range(5)} == {b"%d" % number for number in range(5)}
            assert sock.statistics().sent == 5
            assert sock.statistics().tasks_waiting_send == 0


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("connected", [False, True], ids=["sendto", "connected"])
async def test_a_cancelled_send_has_sent_nothing(socket_folder: Path, connected: bool) -> None:
    """One that is cancelled while it waits for room; those who wait beside it are not disturbed."""
    theirs = str(socket_folder / "theirs")
    with RawDatagrams(theirs) as peer, RawDatagrams(b"") as other:
        async with unchanged(), await _sender(theirs if connected else None) as sock:
            filled = other.fill(theirs)
            async with bridgeio.create_task_group() as group:
                group.start_soon(_send, sock, b"patient", theirs)
                with bridgeio.move_on_after(0.02) as scope:
                    await _send(sock, b"cancelled", theirs)
                assert scope.cancelled_caught
                for _ in range(filled):
                    await peer.receive()
                assert (await peer.receive())[0] == b"patient"
            await _send(sock, b"the next", theirs)
            assert (await peer.receive())[0] == b"the next"
            assert sock.statistics().sent == 2


@pytest.mark.parametrize("connected", [False, True], ids=["sendto", "connected"])
async def test_closing_ends_a_send_that_waits(socket_folder: Path, connected: bool) -> None:
    """A task that waits for room when the socket is closed raises."""
    theirs = str(socket_folder / "theirs")
    with RawDatagrams(theirs), RawDatagrams(b"") as other:
        sock = await _sender(theirs if connected else None)
        other.fill(theirs)
        told: list[BaseException] = []

        async def send() -> None:
            try:
                await _send(sock, b"too late", theirs)
            except bridgeio.StreamClosedError as error:
                told.append(error)

        async with bridgeio.create_task_group() as group:
            group.start_soon(send)
            await bridgeio.sleep(0.01)
            sock.close()
            await until(lambda: told)


async def test_a_receiver_that_dies_with_a_full_queue(socket_folder: Path) -> None:
    """Who waits for room is told that there will never be any."""
    theirs = str(socket_folder / "theirs")
    with RawDatagrams(b"") as other:
        for connected in (False, True):
            with RawDatagrams(theirs) as peer:
                sock = await _sender(theirs if connected else None)
                other.fill(theirs)
                told: list[BaseException] = []
                async with sock, bridgeio.create_task_group() as group:
                    group.start_soon(_hear, told, sock, theirs)
                    await bridgeio.sleep(0.01)
                    peer.sock.close()
                    await until(lambda told=told: told)  # type: ignore[misc]
            os.unlink(theirs)


async def _hear(told: list[BaseException], sock: Any, path: str) -> None:
    try:
        await _send(sock, b"to the dead", path)
    except ConnectionRefusedError as error:
        told.append(error)


async def _sender(connected_to: str | None) -> Any:
    if connected_to is None:
        return await bridgeio.create_unix_datagram_socket()
    return await bridgeio.create_connected_unix_datagram_socket(connected_to)


async def _send(sock: Any, data: bytes, path: str) -> None:
    if isinstance(sock, bridgeio.UNIXDatagramSocket):
        await sock.sendto(data, path)
    else:
        await sock.send(data)


# Paths


async def test_the_path_of_a_socket(socket_folder: Path) -> None:
    """It has the mode that was asked for, whatever the umask, and is gone when the socket is closed."""
    path = socket_folder / "ours"
    for mode in (0o600, 0o666, 0o620):
        async with await bridgeio.create_unix_datagram_socket(local_path=path, local_mode=mode):
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert not path.exists()
    async with await bridgeio.create_unix_datagram_socket(local_path=path) as sock:
        path.unlink()
        path.write_text("somebody else's")
        sock.close()
    assert path.read_text() == "somebody else's"


async def test_nobody_may_send_before_the_mode_is_set(socket_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux, when the path appears it already gives no right that the mode does not give."""
    if sys.platform != "linux":
        pytest.skip("only Linux makes the file with the mode of the socket")
    path = socket_folder / "ours"
    modes: list[int] = []
    chmod = os.chmod

    def watched(where: Any, mode: int) -> None:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        chmod(where, mode)

    monkeypatch.setattr(os, "chmod", watched)
    async with await bridgeio.create_unix_datagram_socket(local_path=path, local_mode=0o600):
        assert [mode & ~0o600 for mode in modes] == [0]


async def test_a_path_of_the_dead(socket_folder: Path) -> None:
    """A socket file that nobody has open is replaced; one that somebody has, or another file, is not touched."""
    path = str(socket_folder / "s")
    with RawDatagrams(path):
        pass
    async with unchanged():
        async with await bridgeio.create_unix_datagram_socket(local_path=path) as sock:
            with pytest.raises(OSError, match=f"bind a datagram socket to {path}") as caught:
                await bridgeio.create_unix_datagram_socket(local_path=path)
            assert caught.value.errno == errno.EADDRINUSE
            async with await bridgeio.create_connected_unix_datagram_socket(path) as client:
                await client.send(b"still there")
                assert (await sock.receive())[0] == b"still there"
        with RawListener(path), pytest.raises(OSError, match="in use"):
            await bridgeio.create_unix_datagram_socket(local_path=path)
        os.unlink(path)
        (socket_folder / "s").write_text("no socket")
        with pytest.raises(OSError, match="in use"):
            await bridgeio.create_unix_datagram_socket(local_path=path)
        assert (socket_folder / "s").read_text() == "no socket"


async def test_nobody_there(socket_folder: Path) -> None:
    """The system's errors keep their class, and say which path it was; a socket that is not connected lives on."""
    nothing, dead = str(socket_folder / "nothing"), str(socket_folder / "dead")
    with RawDatagrams(dead):
        pass
    async with unchanged(), await bridgeio.create_unix_datagram_socket() as sock:
        with pytest.raises(FileNotFoundError, match=r"send 4 bytes to .*nothing"):
            await sock.sendto(b"data", nothing)
        with pytest.raises(ConnectionRefusedError, match="dead"):
            await sock.sendto(b"data", dead)
        with pytest.raises(FileNotFoundError, match=r"connect to .*nothing"):
            await bridgeio.create_connected_unix_datagram_socket(nothing)
        ours = str(socket_folder / "ours")
        with pytest.raises(ConnectionRefusedError, match=r"connect to .*dead"):
            await bridgeio.create_connected_unix_datagram_socket(dead, local_path=ours)
        assert not (socket_folder / "ours").exists()
        with RawDatagrams(nothing) as peer:
            await sock.sendto(b"data", nothing)
            assert (await peer.receive())[0] == b"data"
        with pytest.raises(OSError, match="too long"):
            await bridgeio.create_unix_datagram_socket(local_path=str(socket_folder / ("too-long" * 20)))


async def test_a_peer_that_has_gone(socket_folder: Path) -> None:
    """A connected socket is told so by its next send; a receive waits, for there is no end of a stream here."""
    path = str(socket_folder / "theirs")
    with RawDatagrams(path) as peer:
        sock = await bridgeio.create_connected_unix_datagram_socket(path)
        peer.sock.close()
        async with sock:
            with pytest.raises(ConnectionRefusedError, match="theirs"):
                await sock.send(b"to the dead")
            with pytest.raises(OSError, match="theirs"):
                await sock.send(b"to the dead")
            with bridgeio.move_on_after(0.01) as scope:
                await sock.receive()
            assert scope.cancelled_caught


async def test_descriptors_that_a_peer_sends(socket_folder: Path) -> None:
    """Nobody asked for them: they do not come into this process, and the datagram does."""
    ours = str(socket_folder / "ours")
    async with await bridgeio.create_unix_datagram_socket(local_path=ours) as sock, unchanged():
        with RawDatagrams(b"") as peer:
            peer.sock.connect(ours)
            for _ in range(5):
                socket.send_fds(peer.sock, [b"data"], [peer.sock.fileno()])
            assert [(await sock.receive())[0] for _ in range(5)] == [b"data"] * 5


@pytest.mark.parametrize("item", [b"data", ("only one",), 5])
async def test_what_is_no_pair_of_data_and_path(item: Any) -> None:
    """It is refused at once, in words that help."""
    async with await bridgeio.create_unix_datagram_socket() as sock:
        with pytest.raises(TypeError, match="pair of data and path"):
            await sock.send(item)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
