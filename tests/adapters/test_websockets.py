"""websockets, client and server, beside bridgeio and inside its scopes: a library that knows nothing of us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from echoing import ask, echo
from loops import run_native

pytest.importorskip("websockets", reason="websockets is not installed: pip install 'bridgeio[test]'")

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

Main = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture(params=["asyncio", "uvloop", "tornado", "native asyncio", "native uvloop"])
def inside(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Runs a function in bridgeio's main task on each loop that websockets runs on, or in a task of asyncio's own."""
    kind, _, world = str(request.param).rpartition(" ")
    if world != "asyncio":
        pytest.importorskip(world)
    return lambda main: run_native(world, main) if kind else bridgeio.run(main, backend=world)


def port_of(server: Any) -> int:
    return int(next(iter(server.sockets)).getsockname()[1])


def url_of(server: Any) -> str:
    return f"ws://127.0.0.1:{port_of(server)}/"


def test_messages_go_through_a_server_of_ours(inside: Callable[[Main], Any]) -> None:
    """Each connection's handler asks a bridgeio server; the clients are children of a group of ours."""

    async def main() -> list[str]:
        answers: list[str] = []
        async with bridgeio.serve(echo, "127.0.0.1") as behind:

            async def handler(socket: Any) -> None:
                async for message in socket:
                    await socket.send((await ask(behind.port, message.encode())).decode())

            async def client(url: str, word: str) -> None:
                async with connect(url) as socket:
                    await socket.send(word)
                    answers.append(str(await socket.recv()))

            async with serve(handler, "127.0.0.1", 0) as server, bridgeio.create_task_group() as group:
                for number in range(4):
                    group.start_soon(client, url_of(server), f"word {number}")
        return sorted(answers)

    assert inside(main) == [f"word {number}" for number in range(4)]


def test_a_deadline_ends_recv_and_loses_no_message(inside: Callable[[Main], Any]) -> None:
    """websockets promises that a cancelled ``recv`` takes nothing; a scope of ours keeps to that, again and again."""

    async def handler(socket: Any) -> None:
        await socket.recv()
        for number in range(3):
            await socket.send(str(number))

    async def main() -> list[str]:
        async with serve(handler, "127.0.0.1", 0) as server, connect(url_of(server)) as socket:
            for _ in range(5):
                with bridgeio.move_on_after(0.002) as scope:
                    await socket.recv()
                assert scope.cancelled_caught
            await socket.send("go")
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            return [str(await socket.recv()) for _ in range(3)]

    assert inside(main) == ["0", "1", "2"]


def test_a_cancelled_client_says_goodbye(inside: Callable[[Main], Any]) -> None:
    """The scope around the whole connection is cancelled: websockets' closing handshake, natively awaited in its
    ``__aexit__``, is not cut short, and the server is told what it is told after an `asyncio.timeout`."""
    codes: list[object] = []

    async def handler(socket: Any) -> None:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        codes.append(socket.close_code)

    async def wait_in(url: str, give_up: Callable[[], object]) -> None:
        async with connect(url) as socket:
            asyncio.get_running_loop().call_soon(give_up)
            await socket.recv()

    async def main() -> bool:
        async with serve(handler, "127.0.0.1", 0) as server:
            with bridgeio.CancelScope() as scope:
                await wait_in(url_of(server), scope.cancel)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(None) as timeout:
                    await wait_in(url_of(server), partial(timeout.reschedule, 0))
            await until(lambda: len(codes) == 2)
        return scope.cancelled_caught

    assert inside(main)
    assert codes[0] == codes[1] != CloseCode.ABNORMAL_CLOSURE


def test_a_connect_that_hangs_is_ended(inside: Callable[[Main], Any]) -> None:
    """A server of ours accepts and never answers the handshake; the deadline ends the client's wait for it."""
    closed: list[bytes] = []
    scope = bridgeio.CancelScope()

    async def silent(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        while data := await reader.read(65536):
            scope.deadline = bridgeio.current_time()
            closed.append(data)
        closed.append(b"")

    async def main() -> bool:
        async with bridgeio.serve(silent, "127.0.0.1") as server:
            with scope:
                async with connect(f"ws://127.0.0.1:{server.port}/"):
                    pytest.fail("connected")
            await until(lambda: b"" in closed)
        return scope.cancelled_caught

    assert inside(main)


def test_a_server_in_a_cancelled_group_closes_in_order(inside: Callable[[Main], Any]) -> None:
    """A websockets server that runs as a child of a group is cancelled with the group, and tells its clients."""
    ports: list[int] = []
    codes: list[object] = []

    async def handler(socket: Any) -> None:
        async for message in socket:
            await socket.send(message)

    async def run_server() -> None:
        async with serve(handler, "127.0.0.1", 0) as server:
            ports.append(port_of(server))
            await asyncio.Future()

    async def client() -> None:
        async with connect(f"ws://127.0.0.1:{ports[0]}/") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            codes.append("connected")
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            codes.append(socket.close_code)

    async def main() -> None:
        async with bridgeio.create_task_group() as clients, bridgeio.create_task_group() as servers:
            servers.start_soon(run_server)
            await until(lambda: ports)
            clients.start_soon(client)
            await until(lambda: codes)
            servers.cancel_scope.cancel()

    inside(main)
    assert codes == ["connected", 1001]
