"""Runs of asyncio's loops, and what they leave: runners, contexts, generators, tasks nobody waited for."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until
from echoing import echo, echo_round
from loops import factory_of

Inside = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")


# Generators


async def numbers(log: list[str], *, started: int = 0) -> AsyncIterator[int]:
    """Waits in bridgeio while it is closed, natively too, and says in which world."""
    try:
        while True:
            yield started
            started += 1
    finally:
        await bridgeio.sleep(0.001)
        await asyncio.sleep(0.001)
        log.append(bridgeio.current_backend())


def test_generators_left_at_the_end_are_closed_in_their_world(inside: Inside, world: str) -> None:
    """Their ``finally`` may wait in bridgeio, however many they are: what bridgeio has on the loop goes last."""
    log: list[str] = []
    kept: list[AsyncIterator[int]] = []

    async def main() -> None:
        for _ in range(5):
            kept.append(numbers(log))
            assert await anext(kept[-1]) == 0

    inside(main)
    assert log == [world] * 5


def test_a_generator_left_to_the_collector_is_closed_in_a_task(inside: Inside, world: str) -> None:
    """Broken out of and forgotten, or part of a circle: its ``finally`` runs, in a task of the loop."""
    log: list[str] = []

    async def main() -> None:
        async for _ in numbers(log):
            break
        await leave_in_a_circle()
        gc.collect()
        await until(lambda: len(log) == 2)

    async def leave_in_a_circle() -> None:
        circle: list[Any] = [numbers(log)]
        circle.append(circle)
        await anext(circle[0])

    inside(main)
    assert log == [world] * 2


def test_a_generator_closed_early_is_closed_in_the_scope_of_who_closes_it(inside: Inside) -> None:
    """`aclose` in a cancelled scope: what the generator waits for in its ``finally`` is cancelled, as any wait."""
    log: list[str] = []

    async def main() -> bool:
        generator: Any = numbers(log)
        await anext(generator)
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await generator.aclose()
        return scope.cancelled_caught

    assert inside(main)
    assert log == []


# Tasks nobody waited for


def test_a_native_task_left_over_cleans_up_with_its_streams(inside: Inside) -> None:
    """The runner cancels it, and in its ``finally`` it still writes and reads, behind a scope of its own."""
    log: list[bytes] = []
    left: list[asyncio.Task[None]] = []

    async def leave(port: int, connected: bridgeio.Event) -> None:
        reader, writer = await bridgeio.open_connection("127.0.0.1", port)
        connected.set()
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.move_on_after(20):
                writer.write(b"goodbye")
                writer.write_eof()
                log.append(await reader.read())
            writer.abort()

    async def main() -> None:
        connected = bridgeio.Event()
        server = await asyncio.start_server(native_echo, "127.0.0.1", 0)
        left.append(asyncio.create_task(leave(server.sockets[0].getsockname()[1], connected)))
        await connected.wait()
        await until(lambda: waiting)
        server.close()

    async def native_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.create_task(answer(reader, writer)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.append(True)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            writer.write(await reader.readexactly(7))
            writer.close()
            await writer.wait_closed()

    answering: list[asyncio.Task[None]] = []
    waiting: list[bool] = []
    inside(main)
    assert log == [b"goodbye"]


def test_no_task_of_ours_is_left_at_the_end(inside: Inside) -> None:
    """After groups, servers and connections `asyncio.all_tasks` names the main task alone."""

    async def main() -> set[asyncio.Task[Any]]:
        async with bridgeio.create_task_group() as group:
            group.start_soon(echo_round)
            server = await group.start(bridgeio.serve_task, echo, "127.0.0.1")
            assert server.port
            group.cancel_scope.cancel()
        this = asyncio.current_task()
        await until(lambda: asyncio.all_tasks() == {this})
        return asyncio.all_tasks() - {this}

    assert inside(main) == set()


# Runners, contexts, debug mode


def test_a_runner_runs_again_and_again(world: str) -> None:
    """One loop, many main tasks: an Event made in one run serves the next, and the host is the same."""
    hosts: list[object] = []

    async def first(event: bridgeio.Event) -> None:
        from bridgeio.registry import current_host

        hosts.append(current_host())
        await echo_round()
        event.set()

    async def second(event: bridgeio.Event) -> None:
        await event.wait()
        await first(event)

    with asyncio.Runner(loop_factory=factory_of(world)) as runner:
        event = bridgeio.Event()
        runner.run(first(event))
        runner.run(second(event))
    assert hosts[0] is hosts[1]


def test_main_tasks_that_share_a_context_are_told_apart(world: str) -> None:
    """`Runner.run` with one context for two runs, as unittest does: the second is not taken for the first, whose
    record is still found there, and finds the first one's variables."""

    async def cancelled_alone() -> str:
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await bridgeio.sleep(0)
        assert scope.cancelled_caught
        await bridgeio.sleep(0)
        before = variable.get()
        variable.set("the first run's")
        return before

    context = contextvars.copy_context()
    with asyncio.Runner(loop_factory=factory_of(world)) as runner:
        seen = [runner.run(cancelled_alone(), context=context) for _ in range(2)]
    assert seen == ["nobody's", "the first run's"]


def test_each_child_has_a_context_of_its_own(inside: Inside) -> None:
    """A copy of that of whoever started it; what it sets there stays there, in native children too."""
    seen: list[str] = []

    async def child(name: str) -> None:
        seen.append(variable.get())
        variable.set(name)
        await bridgeio.sleep(0)
        assert variable.get() == name
        await asyncio.create_task(native(name))

    async def native(name: str) -> None:
        assert variable.get() == name
        variable.set("native")
        await bridgeio.sleep(0)

    async def main() -> str:
        variable.set("main's")
        async with bridgeio.create_task_group() as group:
            group.start_soon(child, "one")
            group.start_soon(child, "two")
        return variable.get()

    assert inside(main) == "main's"
    assert seen == ["main's", "main's"]


def test_debug_mode_has_nothing_to_say(world: str, caplog: pytest.LogCaptureFixture) -> None:
    """asyncio's own checks, of threads, of forgotten coroutines and of descriptors, find nothing."""
    bridgeio.run(echo_round, backend=world, backend_options={"debug": True})
    assert [record.message for record in caplog.records if "took" not in record.message] == []


def test_a_traceback_reaches_the_users_frames(inside: Inside) -> None:
    """An error of a child, raised after a wait, comes out with every frame of the user's between."""

    async def outer() -> None:
        await inner()

    async def inner() -> None:
        await bridgeio.sleep(0)
        raise LookupError("mine")

    async def main() -> list[str]:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(outer)
        except ExceptionGroup as failures:
            return [frame.name for frame in traceback.extract_tb(failures.exceptions[0].__traceback__)]
        return []

    assert inside(main)[-2:] == ["outer", "inner"]
