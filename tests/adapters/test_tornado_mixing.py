"""Tornado's own ways to wait and to bound, inside bridgeio's scopes and around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from echoing import ask, echo

pytest.importorskip("tornado")

from tornado import gen, httpclient, httpserver, locks, queues, web
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

Main = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture(params=["our task", "Tornado's task"])
def inside(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Runs a function in bridgeio's main task, or in the one that `IOLoop.run_sync` makes."""
    if request.param == "our task":
        return lambda main: bridgeio.run(main, backend="tornado")
    return run_sync


def run_sync(main: Main, **options: Any) -> Any:
    loop = IOLoop(make_current=False)
    try:
        return loop.run_sync(main, **options)
    finally:
        loop.close(all_fds=True)


async def yields_a_future() -> None:
    await decorated()


@gen.coroutine
def decorated() -> Any:
    yield gen.sleep(3600)


async def waits_for_an_event() -> None:
    await locks.Event().wait()


async def waits_with_a_timeout() -> None:
    await gen.with_timeout(timedelta(hours=1), locks.Event().wait())


async def waits_for_an_item() -> None:
    await queues.Queue[int]().get()


async def iterates() -> None:
    await gen.WaitIterator(asyncio.get_running_loop().create_future()).next()


@pytest.mark.parametrize(
    "wait", [yields_a_future, waits_for_an_event, waits_with_a_timeout, waits_for_an_item, iterates]
)
def test_a_scope_ends_tornados_wait(inside: Callable[[Main], Any], wait: Main) -> None:
    """Each is a Future in the end, is cancelled once, and the task is not left cancelled."""

    async def main() -> list[object]:
        with bridgeio.move_on_after(0.001) as scope:
            await wait()
        task = asyncio.current_task()
        assert task is not None
        await bridgeio.sleep(0)
        return [scope.cancelled_caught, task.cancelling()]

    assert inside(main) == [True, 0]


def test_a_decorated_coroutine_ends_when_its_scope_inside_is_cancelled(inside: Callable[[Main], Any]) -> None:
    """A `gen.coroutine` yields coroutines of ours, each in a task of its own, whose scopes work there."""

    async def bounded() -> bool:
        with bridgeio.move_on_after(0.001) as scope:
            await bridgeio.sleep_forever()
        return scope.cancelled_caught

    @gen.coroutine
    def old_style() -> Any:
        both = yield [bounded(), bounded()]
        return both

    async def main() -> object:
        return await old_style()

    assert inside(main) == [True, True]


def test_wait_iterator_hands_over_what_ours_return(inside: Callable[[Main], Any]) -> None:
    """`gen.WaitIterator` over coroutines of ours gives each result as it comes."""

    async def value(number: int) -> int:
        await bridgeio.sleep(0.001 * number)
        return number

    async def main() -> list[int]:
        iterator = gen.WaitIterator(*(asyncio.ensure_future(value(number)) for number in (2, 1)))
        return sorted([result async for result in iterator])

    assert inside(main) == [1, 2]


def test_with_timeout_around_ours_and_a_scope_around_that(inside: Callable[[Main], Any]) -> None:
    """`gen.with_timeout` raises its own TimeoutError inside a scope, which is not cancelled by it."""

    async def main() -> list[bool]:
        task = asyncio.ensure_future(bridgeio.sleep_forever())
        with bridgeio.CancelScope() as scope:
            with pytest.raises(TimeoutError):
                await gen.with_timeout(timedelta(seconds=0.001), task)
            before = scope.cancel_called
            scope.cancel()
            await gen.with_timeout(timedelta(hours=1), task)
        task.cancel()
        return [before, scope.cancelled_caught]

    assert inside(main) == [False, True]


def test_run_sync_that_times_out_cancels_ours() -> None:
    """`IOLoop.run_sync(timeout=...)` cancels its task: a group of ours in it runs its cleanup, in the loop."""
    log: list[str] = []

    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            log.append("child")

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)

    with pytest.raises(TimeoutError):
        run_sync(main, timeout=0.02)
    assert log == ["child"]


@pytest.mark.parametrize("how", ["add_callback", "spawn_callback", "call_later", "add_future"])
def test_callbacks_that_are_coroutines_use_ours(inside: Callable[[Main], Any], how: str) -> None:
    """An IOLoop runs each in a task, in which bridgeio's functions work."""
    log: list[str] = []

    async def callback(*_: object) -> None:
        with bridgeio.move_on_after(0.001) as scope:
            await bridgeio.sleep_forever()
        log.append(f"{bridgeio.current_backend()} {scope.cancelled_caught}")

    async def main() -> None:
        loop = IOLoop.current()
        if how == "call_later":
            loop.call_later(0, callback)
        elif how == "add_future":
            future: asyncio.Future[Any] = asyncio.ensure_future(bridgeio.sleep(0))
            loop.add_future(future, callback)  # type: ignore[arg-type]
        else:
            getattr(loop, how)(callback)
        await until(lambda: log)

    inside(main)
    assert log == ["tornado True"]


def test_handlers_end_with_deadlines_and_the_server_goes_on(inside: Callable[[Main], Any]) -> None:
    """Tornado's client and server beside our streams: a handler whose backend is silent answers by its deadline,
    and the requests are children of a group of ours."""
    answers: list[bytes] = []
    scopes: dict[int, bridgeio.CancelScope] = {}

    async def silent(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await reader.readline()
        scopes[writer.get_extra_info("sockname")[1]].deadline = bridgeio.current_time()
        await reader.read()

    class Ask(web.RequestHandler):
        async def get(self, port: str) -> None:
            with bridgeio.CancelScope() as scopes[int(port)]:
                self.write(await ask_and_wait(int(port)))
                return
            self.write(b"too late")

    async def ask_and_wait(port: int) -> bytes:
        reader, writer = await bridgeio.open_connection("127.0.0.1", port)
        async with writer:
            writer.write(b"hello\n")
            return await reader.readline()

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as good, bridgeio.serve(silent, "127.0.0.1") as bad:
            sock, port = bind_unused_port()
            front = httpserver.HTTPServer(web.Application([("/([0-9]+)", Ask)]))
            front.add_socket(sock)

            async def fetch(behind: int) -> None:
                answer = await httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/{behind}")
                answers.append(answer.body)

            async with bridgeio.create_task_group() as group:
                for server in (good, bad, good):
                    group.start_soon(fetch, server.port)
            front.stop()
            await front.close_all_connections()
            assert await ask(good.port, b"x") == b"x"

    inside(main)
    assert sorted(answers) == [b"hello\n", b"hello\n", b"too late"]


def test_a_scope_ends_a_fetch_and_the_client_works_on(inside: Callable[[Main], Any]) -> None:
    """A request that is not answered is given up; the next of the same client is answered."""
    asked: list[str] = []

    class Slow(web.RequestHandler):
        async def get(self, word: str) -> None:
            asked.append(word)
            if word == "slow":
                await bridgeio.sleep(0.2)
            self.write(word)

    async def main() -> bytes:
        sock, port = bind_unused_port()
        front = httpserver.HTTPServer(web.Application([("/([a-z]+)", Slow)]))
        front.add_socket(sock)
        client = httpclient.AsyncHTTPClient(force_instance=True)
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:

                async def give_up() -> None:
                    await until(lambda: asked)
                    scope.cancel()

                group.start_soon(give_up)
                await client.fetch(f"http://127.0.0.1:{port}/slow")
        assert scope.cancelled_caught
        answer = await client.fetch(f"http://127.0.0.1:{port}/quick")
        front.stop()
        await front.close_all_connections()
        client.close()
        return answer.body

    assert inside(main) == b"quick"
