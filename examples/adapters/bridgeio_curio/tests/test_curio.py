"""What is peculiar to curio: its own waits, its own ways to cancel, and its own tasks."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import AsyncGeneratorType

import bridgeio_curio
import curio
import pytest

import bridgeio

pytestmark = pytest.mark.bridgeio("curio")


async def test_a_scope_ends_a_wait_of_curios() -> None:
    """curio's functions are awaited beside bridgeio's, and end with the scope around them; the task goes on."""
    for _ in range(2):
        with bridgeio.move_on_after(0.005) as scope:
            await curio.sleep(3600)
        assert scope.cancelled_caught
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        await curio.sleep(3600)
    assert scope.cancelled_caught
    assert not (await curio.current_task()).cancelled


async def test_curios_timeout_outlives_a_scope_inside() -> None:
    """A scope that has ended a wait leaves the timeout around it in force."""
    task = await curio.current_task()
    async with curio.timeout_after(3600):
        before = task.timeout
        with bridgeio.move_on_after(0.005):
            await curio.sleep(3600)
        assert task.timeout == before
    with pytest.raises(curio.TaskTimeout):
        await curio.timeout_after(0.005, bridgeio.sleep_forever)


@pytest.mark.parametrize("where", ["in the block", "at its end"])
async def test_curios_cancel_passes_through_a_scope(where: str) -> None:
    """A cancel by curio is not absorbed by a scope, and children end before it goes on."""
    ended: list[str] = []

    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            ended.append("child")

    async def parent() -> None:
        try:
            with bridgeio.CancelScope():
                async with bridgeio.create_task_group() as group:
                    group.start_soon(child)
                    if where == "in the block":
                        await bridgeio.sleep_forever()
        finally:
            ended.append("parent")

    task = await curio.spawn(bridgeio_curio.enter, parent)
    await bridgeio.sleep(0.005)
    await task.cancel()
    assert isinstance(task.exception, curio.TaskCancelled)
    assert ended == ["child", "parent"]


async def test_a_result_wins_over_curios_cancel() -> None:
    """A wait that has its result ends with it; curio's cancel comes at the next wait, of whichever kind."""
    event, reached = bridgeio.Event(), []

    async def wait() -> None:
        await event.wait()
        reached.append("result")
        await bridgeio.sleep(0.001)
        reached.append("too far")

    task = await curio.spawn(bridgeio_curio.enter, wait)
    await bridgeio.sleep(0.005)
    event.set()
    await task.cancel()
    assert reached == ["result"]


def test_curios_tasks_may_set_an_event(backend: str) -> None:
    """What needs no wait works in a task of curio's own too, though nobody of bridgeio's is in charge there.

    In a run of its own: the deadline of an ordinary test would look after it, late but well.
    """
    event = bridgeio.Event()

    async def set_event() -> None:
        event.set()

    async def main() -> None:
        await curio.spawn(set_event, daemon=True)
        await event.wait()

    bridgeio.run(main, backend=backend)


def test_generators_do_not_outlive_the_run(backend: str) -> None:
    """The cleanup of a generator that somebody still holds runs before the run ends, and may wait."""
    cleaned: list[str] = []

    async def generate() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await bridgeio.sleep(0.001)
            cleaned.append(bridgeio.current_backend())

    async def main() -> AsyncGeneratorType[int, None]:
        generator = generate()
        assert isinstance(generator, AsyncGeneratorType)
        await anext(generator)
        return generator

    assert bridgeio.run(main, backend=backend).ag_frame is None
    assert cleaned == ["curio"]


def test_a_kernel_that_is_running_already() -> None:
    """A task of a kernel that bridgeio did not start enters, and serves and connects as any other."""

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(await reader.readline())

    async def exchange() -> tuple[str, bytes]:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                writer.write(b"hello\n")
                return bridgeio.current_backend(), await reader.readline()

    async def main() -> list[tuple[str, bytes]]:
        tasks = [await curio.spawn(bridgeio_curio.enter, exchange) for _ in range(3)]
        return [await task.join() for task in tasks]

    assert curio.run(main) == [("curio", b"hello\n")] * 3


def test_what_is_not_promised() -> None:
    """A task of curio's own that calls bridgeio directly is told what to do instead."""

    async def main() -> None:
        await bridgeio.sleep(0)

    with pytest.raises(bridgeio.NoBackendError, match="enter"):
        curio.run(main)


def test_a_second_kernel_in_the_same_thread() -> None:
    """``run`` inside a running kernel is a BackendBusyError."""

    async def main() -> None:
        bridgeio.run(bridgeio.sleep, 0, backend="curio")

    with pytest.raises(bridgeio.BackendBusyError):
        curio.run(main)
