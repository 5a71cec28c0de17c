"""Chapter: draining. How a server ends, and what its report says."""

from __future__ import annotations

import math
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.listeners import Listener
from bridgeio.testing.peers import FAMILIES, Peer, family_of, free_address, peers_of, raw_socket
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio

_ESTABLISHED = 1  # TCP_INFO's first byte, as include/net/tcp_states.h numbers them


async def _wait_for_the_peer(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    await reader.read()


async def test_handlers_may_finish() -> None:
    """Within the grace handlers go on, and what they answer arrives; the report counts them."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await bridgeio.current_server().closing.wait()
        writer.write(b"bye")

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with peers_of(server.addresses[0], 3) as peers:
            await until(lambda: server.connections == 3)
            report = await server.close()
            assert [await peer.receive_all() for peer in peers] == [b"bye"] * 3
    assert (report.finished, report.cancelled, report.failed, report.unresponsive) == (3, 0, 0, 0)


async def test_the_late_are_cancelled() -> None:
    """After the grace the handlers that are left are cancelled, may clean up, and are counted."""
    cleaned: list[bool] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        try:
            await reader.read()
        finally:
            cleaned.append(True)

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            await until(lambda: server.connections == 1)
            report = await server.close(grace=0.01)
            assert cleaned == [True]
            assert (report.finished, report.cancelled, report.failed, report.unresponsive) == (0, 1, 0, 0)
            assert await peer.receive_all() == b""


async def test_those_that_fail_are_counted() -> None:
    """A handler that raises while the server drains is ``failed``."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await bridgeio.current_server().closing.wait()
        raise KeyError("mine")

    async with bridgeio.serve(handler, "127.0.0.1", on_error=lambda error, peer: None) as server:
        with Peer.connect(server.addresses[0]):
            await until(lambda: server.connections == 1)
            report = await server.close()
    assert (report.finished, report.cancelled, report.failed, report.unresponsive) == (0, 0, 1, 0)


async def test_a_handler_that_ignores_its_cancellation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its socket is shut, ``close`` comes back and reports it, and the log names it; the block waits for it."""
    monkeypatch.setattr("bridgeio.server.UNRESPONSIVE_AFTER", 0.05)
    release = bridgeio.Event()
    ended: list[bool] = []

    async def stubborn(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        with bridgeio.CancelScope(shield=True):
            await release.wait()
            ended.append(True)

    async with bridgeio.serve(stubborn, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            await until(lambda: server.connections == 1)
            report = await server.close(grace=0)
            assert (report.finished, report.cancelled, report.failed, report.unresponsive) == (0, 0, 0, 1)
            assert await peer.sees_reset()
            assert any("stubborn" in record.getMessage() for record in caplog.records)
            assert ended == []
        release.set()
    assert ended == [True]


async def test_a_report_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection is counted once, in the report's first fitting column."""
    monkeypatch.setattr("bridgeio.server.UNRESPONSIVE_AFTER", 0.05)
    release = bridgeio.Event()

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        kind = await reader.readline()
        writer.write(b"ok")
        await bridgeio.current_server().closing.wait()
        if kind == b"fail\n":
            raise KeyError("mine")
        if kind == b"wait\n":
            await bridgeio.sleep_forever()
        if kind == b"ignore\n":
            with bridgeio.CancelScope(shield=True):
                await release.wait()

    async with bridgeio.serve(handler, "127.0.0.1", on_error=lambda error, peer: None) as server:
        with peers_of(server.addresses[0], 10) as peers:
            for peer, kind in zip(peers, [b"end"] * 4 + [b"fail"] * 3 + [b"wait"] * 2 + [b"ignore"], strict=True):
                peer.send(kind + b"\n")
                assert await peer.receive(2) == b"ok"
            report = await server.close(grace=0.1)
            release.set()
    assert (report.finished, report.cancelled, report.failed, report.unresponsive) == (4, 2, 3, 1)


async def test_what_the_kernel_has_queued_is_served() -> None:
    """Connections that were made before ``close`` are accepted and answered, though nobody had seen them."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(await reader.readline())

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with peers_of(server.addresses[0], 20) as peers:
            for peer in peers:
                peer.send(b"hello\n")
            report = await server.close()
            assert [await peer.receive_all() for peer in peers] == [b"hello\n"] * 20
        assert report.finished == 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can keep others from a socket that listens")
@pytest.mark.parametrize("family", FAMILIES)
async def test_nobody_connects_after_the_last_accept(
    family: str, socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that came between the last accept and the close would be reset: its client does not get it."""
    established: list[bool] = []
    close = Listener.close

    def connect_and_close(listener: Listener) -> None:
        established.append(_connects(listener.address))
        close(listener)

    address = free_address(family, socket_folder)
    serving = bridgeio.serve_unix(_answer, address) if family == "unix" else bridgeio.serve(_answer, *address)
    async with serving as server:
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"hello\n")
            monkeypatch.setattr(Listener, "close", connect_and_close)
            await server.close()
            assert await peer.receive_all() == b"hello\n"
    assert established[0] is False


def _connects(address: Any) -> bool:
    """Whether a client is connected when its connect has done what it can without waiting."""
    with raw_socket(family_of(address)) as client:
        client.setblocking(False)
        code = client.connect_ex(address)
        if client.family == socket.AF_UNIX:
            return code == 0
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED


async def test_a_socket_that_others_share_goes_on() -> None:
    """A socket that was handed in may be another process's, too: who connects when our server ends is that one's."""
    with raw_socket() as shared:
        shared.bind(("127.0.0.1", 0))
        async with bridgeio.serve(_answer, sock=socket.socket(fileno=os.dup(shared.fileno()))):
            pass
        with Peer.connect(shared.getsockname()):
            pass


async def _answer(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    writer.write(await reader.readline())


async def test_a_closed_server_accepts_no_more() -> None:
    """After ``close`` a connect is refused, while the block still goes on."""
    async with bridgeio.serve(_wait_for_the_peer, "127.0.0.1") as server:
        assert not server.closing.is_set()
        await server.close()
        assert server.closing.is_set()
        with pytest.raises(ConnectionRefusedError):
            Peer.connect(server.addresses[0])


async def test_a_wait_that_ends_when_the_server_closes() -> None:
    """It ends with the closing, a second one so many seconds later, and one that begins then lasts no longer."""
    told: list[str] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        server = bridgeio.current_server()
        for delay in (0.0, 0.01):
            with server.move_on_when_closing(delay) as scope:
                writer.write(b"waiting")
                await reader.read(1)
            told.append("closing" if server.closing.is_set() and scope.cancelled_caught else "a byte")
        with server.move_on_when_closing():
            await bridgeio.sleep_forever()

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            assert await peer.receive(7) == b"waiting"
            report = await server.close()
    assert (told, report.finished) == (["closing", "closing"], 1)


async def test_a_wait_that_ends_before_the_server_closes() -> None:
    """A block that is left is nothing to the server any more, and a cancel by hand is as of any scope."""
    told: list[bytes] = []
    deadlines: list[float] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        server = bridgeio.current_server()
        with server.move_on_when_closing() as scope:
            told.append(await reader.readexactly(2))
        with server.move_on_when_closing() as cancelled:
            cancelled.cancel()
            await bridgeio.sleep_forever()
        writer.write(b"?")
        told.append(await reader.readexactly(2))
        deadlines.extend((scope.deadline, cancelled.deadline))

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as peer:
            peer.send(b"ab")
            assert await peer.receive(1) == b"?"
            async with bridgeio.create_task_group() as group:
                group.start_soon(server.close)
                await server.closing.wait()
                peer.send(b"cd")
    assert (told, deadlines) == ([b"ab", b"cd"], [math.inf, math.inf])


async def test_a_wait_that_the_closing_ends_is_cancelled_in_the_end() -> None:
    """Its own delay does not keep a handler past the grace."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        with bridgeio.current_server().move_on_when_closing(3600):
            await reader.read()

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]):
            await until(lambda: server.connections == 1)
            report = await server.close(grace=0.01)
    assert report.cancelled == 1


async def test_every_close_gives_the_same_report() -> None:
    """Closing again, or from another task meanwhile, waits for the first and returns its report."""
    async with bridgeio.serve(_wait_for_the_peer, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]):
            await until(lambda: server.connections == 1)
            reports: list[bridgeio.DrainReport] = []

            async def close() -> None:
                reports.append(await server.close(grace=0.01))

            async with bridgeio.create_task_group() as group:
                group.start_soon(close)
                group.start_soon(close)
            reports.append(await server.close())
    assert reports[0].cancelled == 1
    assert reports == [reports[0]] * 3


async def test_a_handler_may_close_its_server() -> None:
    """A handler that calls ``close`` is not waited for, and the others are."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        if await reader.readline() == b"stop\n":
            report = await bridgeio.current_server().close(grace=0.01)
            writer.write(b"%d cancelled" % report.cancelled)
        await reader.read()

    async with bridgeio.serve(handler, "127.0.0.1") as server:
        with Peer.connect(server.addresses[0]) as waiting, Peer.connect(server.addresses[0]) as stopping:
            await until(lambda: server.connections == 2)
            stopping.send(b"stop\n")
            assert await stopping.receive(11) == b"1 cancelled"
            assert await waiting.receive_all() == b""


async def test_leaving_the_block_drains() -> None:
    """The end of the block waits ``grace`` for the handlers, cancels the rest, and no handler outlives it."""
    running = 0

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        nonlocal running
        running += 1
        try:
            await reader.read()
        finally:
            running -= 1

    with ExitStack() as stack:
        async with bridgeio.serve(handler, "127.0.0.1", grace=0.01) as server:
            peers = stack.enter_context(peers_of(server.addresses[0], 5))
            await until(lambda: running == 5)
        assert running == 0
        assert [await peer.receive_all() for peer in peers] == [b""] * 5


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    """An exception of the block leaves it as it is, after the drain."""
    peers: list[Peer] = []

    async def fail_while_serving() -> None:
        async with bridgeio.serve(_wait_for_the_peer, "127.0.0.1", grace=0) as server:
            peers.append(Peer.connect(server.addresses[0]))
            await until(lambda: server.connections == 1)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await fail_while_serving()
    with peers[0] as peer:
        assert await peer.receive_all() == b""


async def test_a_cancelled_block_waits_for_its_handlers() -> None:
    """A cancel around the block reaches the handlers at once; what they clean up ends before the block does."""
    ended: list[str] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        try:
            await reader.read()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.01)
            ended.append("handler")

    with ExitStack() as stack:
        with bridgeio.CancelScope() as scope:
            async with bridgeio.serve(handler, "127.0.0.1") as server:
                stack.enter_context(Peer.connect(server.addresses[0]))
                await until(lambda: server.connections == 1)
                scope.cancel()
                await bridgeio.sleep_forever()
        ended.append("block")
    assert scope.cancelled_caught
    assert ended == ["handler", "block"]


async def test_max_connections_while_draining() -> None:
    """A full server that is closed does not exceed its limit for those that wait in the kernel."""
    most = 0

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        nonlocal most
        most = max(most, bridgeio.current_server().connections)
        await reader.read()

    async with bridgeio.serve(handler, "127.0.0.1", max_connections=2) as server:
        with peers_of(server.addresses[0], 5):
            await until(lambda: server.connections == 2)
            report = await server.close(grace=0)
            assert report.cancelled == most == 2


async def test_a_close_that_was_given_up_is_gone_on_with() -> None:
    """Whoever else closes the server takes over, and so does the end of the block; nobody waits for ever."""
    reports: list[bridgeio.DrainReport] = []

    async def close(server: bridgeio.Server) -> None:
        reports.append(await server.close(grace=0.01))

    async with bridgeio.serve(_wait_for_the_peer, "127.0.0.1") as server, bridgeio.create_task_group() as group:
        with Peer.connect(server.addresses[0]):
            await until(lambda: server.connections == 1)
            with bridgeio.CancelScope() as scope:
                group.start_soon(_cancel_when, server.closing, scope)
                await server.close(grace=1000)
            assert scope.cancelled_caught
            assert server.connections == 1
            group.start_soon(close, server)
            await server.serve_forever()
    assert [report.cancelled for report in reports] == [1]


async def test_the_block_goes_on_with_a_close_that_was_given_up() -> None:
    """Leaving the block after that is an ordinary drain."""
    async with bridgeio.serve(_wait_for_the_peer, "127.0.0.1", grace=0.01) as server:
        with Peer.connect(server.addresses[0]) as peer:
            await until(lambda: server.connections == 1)
            async with bridgeio.create_task_group() as group:
                with bridgeio.CancelScope() as scope:
                    group.start_soon(_cancel_when, server.closing, scope)
                    await server.close(grace=1000)
            peer.close()
    assert server.connections == 0


async def test_a_later_close_may_have_less_patience() -> None:
    """A second ``close`` with a shorter grace shortens the first one's."""
    reports: list[bridgeio.DrainReport] = []

    async def close(server: bridgeio.Server) -> None:
        reports.append(await server.close(grace=1000))

    async with bridgeio.serve(_wait_for_the_peer, "127.0.0.1") as server, bridgeio.create_task_group() as group:
        with Peer.connect(server.addresses[0]):
            await until(lambda: server.connections == 1)
            group.start_soon(close, server)
            await server.closing.wait()
            reports.append(await server.close(grace=0))
    assert [report.cancelled for report in reports] == [1, 1]


async def test_handlers_that_a_scope_around_the_server_cancels() -> None:
    """They did not finish by themselves, and the report does not say so."""
    with bridgeio.CancelScope() as around:
        async with bridgeio.serve(_wait_for_the_peer, "127.0.0.1") as server:
            with Peer.connect(server.addresses[0]):
                await until(lambda: server.connections == 1)
                around.cancel()
                with bridgeio.CancelScope(shield=True):
                    report = await server.close()
    assert (report.finished, report.cancelled, report.failed, report.unresponsive) == (0, 1, 0, 0)


async def test_a_handler_that_closed_its_server_and_stays() -> None:
    """``close`` does not wait for the handler that calls it, nor for what that has started; the block
    cancels it after the grace, too."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.current_server().close)
        await bridgeio.sleep_forever()

    async with bridgeio.serve(handler, "127.0.0.1", grace=0.01) as server:
        with Peer.connect(server.addresses[0]) as peer:
            await server.serve_forever()
            peer.close()
    assert server.connections == 0


async def _cancel_when(event: bridgeio.Event, scope: bridgeio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
