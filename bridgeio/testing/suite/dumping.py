"""The dump of tasks: what each waits for, whose child it is, where it stands, and who has cancelled it."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio import CancelScope, Event, TaskGroup, create_task_group, dump_tasks, from_thread, to_thread
from bridgeio.errors import show_address
from bridgeio.lowlevel import checkpoint
from bridgeio.testing.peers import RawListener, peer_stream
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio

MUCH = 8 * 1024 * 1024  # bytes; more than the buffers of any kernel


def line_of(name: str, text: str | None = None) -> str:
    """What the dump says of a task, in its line; nothing if it does not know it."""
    lines = (dump_tasks() if text is None else text).splitlines()
    return next((line.strip() for line in lines if line.lstrip().startswith(f"{name}: ")), "")


def stack_of(name: str, text: str | None = None) -> str:
    """The lines below that one which belong to the task."""
    lines = iter((dump_tasks() if text is None else text).splitlines())
    line = next(line for line in lines if line.lstrip().startswith(f"{name}: "))
    indent = len(line) - len(line.lstrip()) + 4
    below = []
    for line in lines:
        if len(line) - len(line.lstrip()) < indent:
            break
        below.append(line.strip())
    return "\n".join(below)


@asynccontextmanager
async def doing(said: str, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> AsyncIterator[TaskGroup]:
    """A block that begins when the dump says this of a task that calls the function, which then is cancelled."""
    async with create_task_group() as group:
        group.start_soon(function, *args, name="subject")
        await until(lambda: said in line_of("subject"))
        yield group
        group.cancel_scope.cancel()


async def test_reading_and_draining_name_the_peer() -> None:
    """A task that waits for a stream is shown with the operation and the peer's address."""
    async with peer_stream() as (reader, writer, _):
        peer = show_address(writer.get_extra_info("peername"))
        async with doing(f"reading from {peer}", reader.readline):
            assert "subject" in line_of("subject")
        writer.write(bytes(MUCH))
        async with doing(f"draining to {peer}", writer.drain):
            assert f"draining to {peer}" in line_of("subject")
        writer.close()
        async with doing(f"closing the stream to {peer}", writer.wait_closed):
            assert f"closing the stream to {peer}" in line_of("subject")


async def test_accepting_names_the_address() -> None:
    """A server's task that waits for connections says where."""

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        """Never called."""

    async with bridgeio.serve(handler, "127.0.0.1", 0) as server:
        await until(lambda: f"accepting on 127.0.0.1:{server.port}" in dump_tasks())


async def test_connecting_names_the_address() -> None:
    """A task that waits for a connect that nobody answers says whom it tries."""
    with RawListener(backlog=0) as silent:
        await silent.fill_queue()
        address = show_address(silent.address)
        async with doing(f"connecting to {address}", bridgeio.open_connection, "127.0.0.1", silent.port):
            assert address in line_of("subject")


async def test_events_and_times_are_named() -> None:
    """A wait for an `Event` and a wait for a time say so, and how long it will be."""
    async with doing("waiting for an Event", Event().wait):
        assert line_of("subject")
    async with doing("sleeping until +", bridgeio.sleep, 100.0):
        assert re.search(r"sleeping until \+(100\.0|9\d\.\d) s", line_of("subject"))
    async with doing("sleeping for ever", bridgeio.sleep_forever):
        assert line_of("subject")


async def test_locks_and_queues_are_named() -> None:
    """A wait for a lock names who holds it; a wait for a queue says for what of it."""
    lock, queue = bridgeio.Lock(), bridgeio.Queue[int]()
    me = bridgeio.get_current_task().name
    async with lock, doing(f"waiting for a Lock held by {me}", lock.acquire):
        assert line_of("subject")
    async with doing("waiting for an item of a Queue", queue.get):
        assert line_of("subject")


async def test_a_group_names_its_children() -> None:
    """A task at the end of its group's block says for whom it waits; the children stand below it."""

    async def parent() -> None:
        async with create_task_group() as group:
            group.start_soon(bridgeio.sleep_forever, name="Anna")
            group.start_soon(bridgeio.sleep_forever, name="Bert")

    async with doing("waiting for its children: Anna, Bert", parent):
        text = dump_tasks()
    names = ("subject", "Anna", "Bert")
    depth = {name: line.index(name) for line in text.splitlines() for name in names if line.strip().startswith(name)}
    assert depth["subject"] < depth["Anna"] == depth["Bert"]
    assert all(text.index("subject: ") < text.index(f"{child}: ") for child in ("Anna", "Bert"))


async def test_what_has_not_begun_is_shown() -> None:
    """A task that was started and has not had its first step is in the dump, and so is the one that asks."""
    async with create_task_group() as group:
        group.start_soon(checkpoint, name="fresh")
        assert "not begun" in line_of("fresh")
        me = bridgeio.get_current_task().name
        assert "running" in line_of(me)


async def test_the_age_grows() -> None:
    """Each task's age stands in its line, in seconds since it was started (on Trio: since it first called
    bridgeio)."""
    async with doing(" s old", bridgeio.sleep_forever):
        assert re.match(r"subject: 0\.\d s old, ", line_of("subject"))
        await until(lambda: not line_of("subject").startswith("subject: 0.0 s old"))


async def test_a_stack_has_the_users_frames_and_not_ours() -> None:
    """Below a task stand the frames of its functions, inwards down to the call that waits, and none of
    bridgeio's or its adapter's."""

    async def outer(reader: bridgeio.Reader) -> None:
        await inner(reader)

    async def inner(reader: bridgeio.Reader) -> None:
        async for line in generator(reader):
            assert not line

    async def generator(reader: bridgeio.Reader) -> AsyncIterator[bytes]:
        yield await reader.readline()

    async with peer_stream() as (reader, _, _), doing("reading from", outer, reader):
        stack = stack_of("subject")
    assert re.findall(r"in (\w+)$", stack, re.MULTILINE) == ["outer", "inner", "generator"]
    assert "yield await reader.readline()" in stack
    assert "bridgeio_" not in stack


async def test_the_stack_of_what_a_worker_thread_has_called() -> None:
    """While a task does what its thread has asked for, its stack goes on into that."""
    event = Event()

    async def offload() -> None:
        await to_thread.run_sync(from_thread.run, ask)

    async def ask() -> None:
        await event.wait()

    async with doing("waiting for an Event", offload):
        stack = stack_of("subject")
        assert stack.index("in offload") < stack.index("in ask")


async def test_the_running_tasks_own_stack() -> None:
    """The task that asks sees where it stands itself."""

    async def asks() -> str:
        return stack_of(bridgeio.get_current_task().name)

    stack = await asks()
    assert re.findall(r"in (\w+)$", stack, re.MULTILINE)[-3:] == [
        "test_the_running_tasks_own_stack",
        "asks",
        "stack_of",
    ]


async def test_a_cancellation_that_is_not_obeyed_names_its_scope() -> None:
    """Of a task that is cancelled and waits all the same the dump tells so, and behind which shield."""

    async def stubborn() -> None:
        with CancelScope(shield=True):
            await release.wait()

    release = Event()
    async with create_task_group() as group:
        group.start_soon(stubborn, name="subject")
        await until(lambda: "waiting for an Event" in line_of("subject"))
        assert "cancelled by" not in line_of("subject")
        group.cancel_scope.cancel()
        assert "shielded from being cancelled by a scope" in line_of("subject")
        release.set()


async def test_a_cancelled_task_names_its_scope() -> None:
    """Between a cancel and the next wait the dump says that the task is cancelled, and by a deadline if it was."""
    me = bridgeio.get_current_task().name
    with CancelScope() as scope:
        scope.cancel()
        assert "cancelled by a scope" in line_of(me)
    with CancelScope(deadline=bridgeio.current_time() - 1):
        assert "whose deadline has passed" in line_of(me)
        await checkpoint()
    assert "cancelled by" not in line_of(me)


async def test_a_deadline_to_come_is_shown() -> None:
    """The earliest deadline that can end a task's wait stands in its line; one behind a shield does not."""

    async def limited() -> None:
        with bridgeio.move_on_after(10), inner, bridgeio.move_on_after(20):
            await bridgeio.sleep_forever()

    for shielded, expected in (False, r"to be cancelled at \+(10\.0|9\.\d) s"), (True, r"at \+(20\.0|19\.\d) s"):
        inner = CancelScope(shield=shielded)
        async with doing("sleeping for ever", limited):
            assert re.search(expected, line_of("subject"))
            inner.cancel()


async def test_another_thread_sees_the_same() -> None:
    """`dump_tasks` may be called in a thread that no framework knows, and shows what the run's own shows."""
    seen: list[str] = []

    async def subject() -> None:
        await Event().wait()

    async with doing("waiting for an Event", subject):
        thread = threading.Thread(target=lambda: seen.append(dump_tasks()))
        thread.start()
        await until(lambda: seen)
        thread.join()
        assert "waiting for an Event" in line_of("subject", seen[0])
        assert stack_of("subject", seen[0]) == stack_of("subject")


async def test_printed_to_a_file_too() -> None:
    """``file`` gets the text that is returned."""
    file = io.StringIO()
    text = dump_tasks(file)
    assert file.getvalue() == text
    assert text.endswith("\n")


def test_a_run_that_is_over_is_forgotten(backend: str, backend_options: dict[str, Any]) -> None:
    """After the end of a run no task of it is shown, whether it ended or failed."""

    async def main() -> None:
        async with create_task_group() as group:
            group.start_soon(bridgeio.sleep_forever, name="the last one")
            await until(lambda: line_of("the last one"))
            raise ValueError("enough")

    with pytest.raises(ExceptionGroup):
        bridgeio.run(main, backend=backend, backend_options=backend_options)
    assert not line_of("the last one")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
