"""Chapter: contexts. Each task has context variables of its own, wherever it was started and whatever it waits for."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import peer_stream

pytestmark = pytest.mark.bridgeio

_NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


async def _tell(seen: list[str]) -> None:
    seen.append(_NAME.get())
    _NAME.set("child")


async def test_a_child_gets_a_copy_at_its_start() -> None:
    """It sees what its starter had set when it called ``start_soon``, and nothing that was set later."""
    seen: list[str] = []
    async with bridgeio.create_task_group() as group:
        for name in ("one", "two"):
            _NAME.set(name)
            group.start_soon(_tell, seen)
        _NAME.set("later")
        await bridgeio.sleep(0.001)
        assert _NAME.get() == "later"
    assert sorted(seen) == ["one", "two"]
    assert _NAME.get() == "later"


async def test_a_child_of_start_too() -> None:
    """``start`` gives the child a copy of the context of its caller, not of the group's owner."""
    seen: list[str] = []

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await _tell(seen)
        task_status.started()

    async def starter(group: bridgeio.TaskGroup) -> None:
        _NAME.set("starter")
        await group.start(child)
        seen.append(_NAME.get())

    async with bridgeio.create_task_group() as group:
        group.start_soon(starter, group)
    assert seen == ["starter", "starter"]
    assert _NAME.get() == "nobody"


async def test_a_task_started_from_a_context() -> None:
    """``Context.run(group.start_soon, ...)`` starts a child in a copy of that context, which stays as it was."""
    seen: list[str] = []
    context = contextvars.Context()
    context.run(_NAME.set, "from the context")
    async with bridgeio.create_task_group() as group:
        context.run(lambda: group.start_soon(_tell, seen))
    assert seen == ["from the context"]
    assert context[_NAME] == "from the context"


async def test_a_handler_has_a_context_of_its_own() -> None:
    """A connection's handler starts with what its server was opened with; handlers see nothing of each other."""
    seen: list[str] = []

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await _tell(seen)

    _NAME.set("server")
    async with bridgeio.serve(handler, "127.0.0.1") as server:
        _NAME.set("client")
        for _ in range(2):
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            assert await reader.read() == b""
            writer.close()
    assert seen == ["server", "server"]
    assert _NAME.get() == "client"


async def _sleep() -> None:
    await bridgeio.sleep(0.001)


async def _give_way() -> None:
    await bridgeio.lowlevel.checkpoint()


async def _read() -> None:
    async with peer_stream() as (reader, _, peer), bridgeio.create_task_group() as group:
        group.start_soon(_after_a_while, partial(peer.send, b"x"))
        assert await reader.readexactly(1) == b"x"


async def _wait_for_an_event() -> None:
    event = bridgeio.Event()
    async with bridgeio.create_task_group() as group:
        group.start_soon(_after_a_while, event.set)
        await event.wait()


async def _join() -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(bridgeio.sleep, 0.001)


async def _be_cancelled() -> None:
    with bridgeio.move_on_after(0.001):
        await bridgeio.sleep_forever()


async def _resolve() -> None:
    async with bridgeio.serve(_never, "localhost") as server:
        _, writer = await bridgeio.open_connection("localhost", server.port)
        writer.abort()
        await server.close(grace=0)


async def _never(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    await bridgeio.sleep_forever()


async def _after_a_while(callback: Callable[[], object]) -> None:
    _NAME.set("another task")
    await bridgeio.sleep(0.001)
    callback()


WAITS: dict[str, Callable[[], Awaitable[None]]] = {
    "sleep": _sleep,
    "checkpoint": _give_way,
    "read": _read,
    "event": _wait_for_an_event,
    "join": _join,
    "cancelled": _be_cancelled,
    "name": _resolve,
}


@pytest.mark.parametrize("wait", WAITS)
async def test_values_outlive_waits(wait: str) -> None:
    """What a task has set is there after each kind of wait, and a token from before still takes it back."""
    token = _NAME.set("mine")
    await WAITS[wait]()
    assert _NAME.get() == "mine"
    _NAME.reset(token)
    assert _NAME.get() == "nobody"


async def test_many_tasks_keep_theirs_apart() -> None:
    """Fifty tasks that set the same variable and wait in turns see each its own value, always."""
    mixed_up: list[str] = []

    async def child(name: str) -> None:
        _NAME.set(name)
        for _ in range(20):
            await bridgeio.lowlevel.checkpoint()
            if _NAME.get() != name:
                mixed_up.append(name)

    async with bridgeio.create_task_group() as group:
        for number in range(50):
            group.start_soon(child, str(number))
    assert mixed_up == []


async def test_the_caller_of_an_async_function_shares_its_context() -> None:
    """An awaited function is no task of its own: what it sets, its caller sees."""

    async def callee() -> None:
        _NAME.set("callee")
        await bridgeio.sleep(0)

    await callee()
    assert _NAME.get() == "callee"


def test_a_run_starts_in_a_copy(backend: str, backend_options: dict[str, Any]) -> None:
    """The main function sees the variables of the caller of ``run``, and changes none of them."""

    async def main() -> str:
        before = _NAME.get()
        _NAME.set("main")
        await bridgeio.sleep(0)
        return before

    async def again() -> str:
        return _NAME.get()

    def run(function: Callable[[], Coroutine[Any, Any, str]]) -> str:
        return bridgeio.run(function, backend=backend, backend_options=backend_options)

    def program() -> tuple[str, str, str]:
        _NAME.set("program")
        return run(main), _NAME.get(), run(again)

    assert contextvars.copy_context().run(program) == ("program", "program", "program")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
