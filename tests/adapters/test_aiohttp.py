"""aiohttp, client and server, beside bridgeio and inside its scopes: a library that knows nothing of us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from echoing import ask, echo
from loops import run_native

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install 'bridgeio[test]'")
web = pytest.importorskip("aiohttp.web")

Main = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture(params=["asyncio", "uvloop", "tornado", "native asyncio", "native uvloop"])
def inside(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Runs a function in bridgeio's main task on each loop that aiohttp runs on, or in a task of asyncio's own."""
    kind, _, world = str(request.param).rpartition(" ")
    if world != "asyncio":
        pytest.importorskip(world)
    return lambda main: run_native(world, main) if kind else bridgeio.run(main, backend=world)


@asynccontextmanager
async def site(handler: Callable[[Any], Coroutine[Any, Any, Any]]) -> AsyncIterator[str]:
    """A server of aiohttp's, which asks the handler whatever the path."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        tcp = web.TCPSite(runner, "127.0.0.1", 0)
        await tcp.start()
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


def test_a_handler_and_a_client_use_bridgeio(inside: Callable[[Main], Any]) -> None:
    """A request goes through aiohttp's client and server to a server of ours, in children of a group of ours."""

    async def main() -> list[str]:
        answers: list[str] = []
        async with bridgeio.serve(echo, "127.0.0.1") as server:

            async def handler(request: Any) -> Any:
                return web.Response(body=await ask(server.port, b"hello"))

            async with site(handler) as url, aiohttp.ClientSession() as session:

                async def fetch() -> None:
                    async with session.get(url) as response:
                        answers.append(await response.text())

                async with bridgeio.create_task_group() as group:
                    for _ in range(5):
                        group.start_soon(fetch)
        return answers

    assert inside(main) == ["hello"] * 5


def test_a_deadline_ends_a_request_and_the_session_works_on(inside: Callable[[Main], Any]) -> None:
    """`move_on_after` around a request that is never answered: aiohttp closes that connection by its own
    cleanup, the handler on the other side hears of it, and the next request of the session is answered."""
    log: list[str] = []
    scope = bridgeio.CancelScope()

    async def handler(request: Any) -> Any:
        if "slow" in request.query:
            try:
                scope.deadline = bridgeio.current_time()
                await bridgeio.sleep_forever()
            finally:
                log.append("the handler was cancelled")
        return web.Response(text="well")

    async def main() -> str:
        async with site(handler) as url, aiohttp.ClientSession() as session:
            with scope:
                async with session.get(url + "?slow"):
                    pytest.fail("answered")
            assert scope.cancelled_caught
            await until(lambda: log)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            async with session.get(url) as response:
                answer: str = await response.text()
        return answer

    assert inside(main) == "well"
    assert log == ["the handler was cancelled"]


def test_aiohttps_own_timeout_inside_a_scope_is_aiohttps(inside: Callable[[Main], Any]) -> None:
    """It ends the request with its own error, and the scope around it is none the wiser."""

    async def handler(request: Any) -> Any:
        await bridgeio.sleep_forever()

    async def main() -> bool:
        async with site(handler) as url, aiohttp.ClientSession() as session:
            with bridgeio.move_on_after(30) as scope:
                with pytest.raises(TimeoutError):
                    async with session.get(url, timeout=aiohttp.ClientTimeout(total=0.05)):
                        pytest.fail("answered")
                await bridgeio.sleep(0.001)
        return scope.cancel_called

    assert inside(main) is False


def test_a_group_that_fails_ends_its_requests(inside: Callable[[Main], Any]) -> None:
    """One child fails, the requests of the others are cancelled, and only the failure comes out."""
    asked: list[str] = []

    async def handler(request: Any) -> Any:
        asked.append("asked")
        await bridgeio.sleep_forever()

    async def main() -> None:
        async with site(handler) as url, aiohttp.ClientSession() as session:

            async def fetch() -> None:
                async with session.get(url):
                    pytest.fail("answered")

            async def fail() -> None:
                await until(lambda: len(asked) == 3)
                raise LookupError

            async def fetch_all() -> None:
                async with bridgeio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(fetch)
                    group.start_soon(fail)

            with pytest.raises(ExceptionGroup) as caught:
                await fetch_all()
            assert [type(error) for error in caught.value.exceptions] == [LookupError]

    inside(main)


def test_a_cancelled_upload_in_pieces_closes_its_source(inside: Callable[[Main], Any]) -> None:
    """A request whose body comes from an async generator that waits in bridgeio: the scope's cancel runs the
    generator's ``finally``, in which it may wait behind a shield."""
    log: list[str] = []
    scope = bridgeio.CancelScope()

    async def handler(request: Any) -> Any:
        await request.read()
        return web.Response(text="read")

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            scope.deadline = bridgeio.current_time()
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.001)
            log.append("closed")

    async def main() -> bool:
        async with site(handler) as url, aiohttp.ClientSession() as session:
            with scope:
                async with session.get(url, data=pieces()):
                    pytest.fail("answered")
            await until(lambda: log)
        return scope.cancelled_caught

    assert inside(main)
    assert log == ["closed"]


def test_a_websocket_of_aiohttps_ends_with_its_scope(inside: Callable[[Main], Any]) -> None:
    """Client and server: the wait for a message is ended, the socket is closed in order, and the server sees it."""
    log: list[object] = []

    async def handler(request: Any) -> Any:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        log.append(socket.close_code)
        return socket

    async def main() -> bool:
        async with site(handler) as url, aiohttp.ClientSession() as session:
            async with session.ws_connect(url) as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "hello"
                with bridgeio.move_on_after(0.01) as scope:
                    await socket.receive()
            await until(lambda: log)
        return scope.cancelled_caught

    assert inside(main)
    assert log == [1000]


def test_a_native_shutdown_ends_groups_in_handlers(inside: Callable[[Main], Any]) -> None:
    """aiohttp cancels a handler whose client went away: the group in it ends its children, shielded cleanup and
    all, before the handler is over."""
    log: list[str] = []

    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.001)
            log.append("child")

    async def handler(request: Any) -> Any:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(child)
                log.append("asked")
        finally:
            log.append("handler")

    async def main() -> None:
        async with site(handler) as url, aiohttp.ClientSession() as session:
            request = asyncio.create_task(session.get(url))
            await until(lambda: log)
            request.cancel()
            await until(lambda: len(log) == 3)
            await asyncio.wait([request])

    inside(main)
    assert log == ["asked", "child", "handler"]
