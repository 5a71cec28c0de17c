"""What a dump shows of the framework's own: its tasks, its awaitables, its calls, its loops."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio import NoBackendError, create_task_group, dump_tasks, get_current_task, get_running_tasks
from bridgeio.lowlevel import EventLoopToken, RunVar, checkpoint, current_token
from bridgeio.registry import current_host
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

on_asyncio = pytest.mark.bridgeio("asyncio", "uvloop", "tornado")


def line_of(name: str) -> str:
    lines = (line.strip() for line in dump_tasks().splitlines())
    return next((line for line in lines if line.startswith(f"{name}: ")), "")


@asynccontextmanager
async def seen(said: str, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> AsyncIterator[None]:
    """A block with a task of ours of which the dump says this."""
    async with create_task_group() as group:
        group.start_soon(function, *args, name="subject")
        await until(lambda: said in line_of("subject"))
        yield
        group.cancel_scope.cancel()


@on_asyncio
async def test_a_future_is_named() -> None:
    """A task of ours that awaits something of asyncio's says what."""

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    async with seen("awaiting <Future pending", wait):
        assert "subject" in line_of("subject")


@on_asyncio
async def test_a_native_task_that_has_ended_is_shown_no_more() -> None:
    """Whoever awaited it, and goes on in the same turn of the loop, does not find it in the dump."""
    await asyncio.create_task(checkpoint(), name="subject")
    assert line_of("subject") == ""


@on_asyncio
async def test_a_native_task_is_shown_once_it_has_called() -> None:
    """A task that asyncio started is unknown until it calls bridgeio, and from then until its end is shown with
    its name, what it awaits of either kind, and its stack."""

    async def native() -> None:
        await release.wait()
        await checkpoint()
        await blocker

    release, blocker = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(native(), name="native")
    await checkpoint()
    assert not line_of("native")
    release.set()
    await until(lambda: "awaiting <Future" in line_of("native"))
    assert "await blocker" in dump_tasks()
    (info,) = [info for info in get_running_tasks() if info.name == "native"]
    assert (info.parent_id, info.coro) == (None, task.get_coro())
    blocker.set_result(None)
    await task
    assert not line_of("native")


@on_asyncio
async def test_a_native_cancellation_is_pending_until_it_is_raised() -> None:
    """`Task.cancel` of a task that has not had its turn yet counts as a cancellation to come."""

    async def native() -> None:
        infos.append(get_current_task())
        await bridgeio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        infos.append(get_current_task())

    infos: list[bridgeio.TaskInfo] = []
    task = asyncio.create_task(native(), name="native")
    await until(lambda: infos)
    assert not infos[0].has_pending_cancellation()
    await until(lambda: "awaiting <Future" in line_of("native"))
    task.cancel()
    assert infos[0].has_pending_cancellation()
    await until(lambda: len(infos) == 2)
    assert not infos[1].has_pending_cancellation()


def test_a_foreign_loop_has_its_own_variables() -> None:
    """A loop that asyncio runs keeps the variables from task to task; the next loop starts without."""

    async def set_it() -> EventLoopToken:
        variable.set(5)
        return current_token()

    async def get_it() -> tuple[int, EventLoopToken]:
        return variable.get(0), current_token()

    variable = RunVar[int]("variable")
    with asyncio.Runner() as runner:
        token = runner.run(set_it())
        assert runner.run(get_it()) == (5, token)
    value, another = asyncio.run(get_it())
    assert value == 0
    assert another != token


@pytest.mark.bridgeio("asyncio", "uvloop", "tornado", "twisted")
async def test_a_callback_knows_its_run() -> None:
    """In a callback of the loop there is no task, and yet the token and the variables of the run."""
    variable = RunVar("variable", "none")
    noted: list[object] = []
    variable.set("mine")

    def call() -> None:
        with contextlib.suppress(NoBackendError):
            noted.append(get_current_task())
        noted.extend([current_token(), variable.get()])

    current_host().call_soon_threadsafe(call)
    await until(lambda: noted)
    assert noted == [current_token(), "mine"]


@pytest.mark.bridgeio("trio")
async def test_a_native_nursery_and_its_children() -> None:
    """The dump of Trio has Trio's own tasks too, those that have never called bridgeio without an age."""
    import trio

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever, name="never called")

    async with seen("waiting for its children: never called", parent):
        assert re.fullmatch(r"never called: in a wait of Trio's(, to be .*)?", line_of("never called"))
        assert "in sleep_forever" in dump_tasks()
        assert not line_of("<TrioToken.run_sync_soon task>")
        assert not line_of("bridgeio timers")


@pytest.mark.bridgeio("trio")
async def test_a_native_scope_is_seen() -> None:
    """A cancel of a scope that Trio's own code has entered is told of, and a shield is."""
    import trio

    async def stubborn() -> None:
        with trio.CancelScope() as outer, trio.CancelScope(shield=True):
            outer.cancel()
            await release.wait()

    release = bridgeio.Event()
    async with seen("shielded from being cancelled by a scope", stubborn):
        assert not next(info for info in get_running_tasks() if info.name == "subject").has_pending_cancellation()
        release.set()


@pytest.mark.bridgeio("twisted")
async def test_a_deferred_is_named() -> None:
    """A task that awaits a Deferred says so."""
    from twisted.internet.defer import Deferred

    async def wait() -> None:
        await Deferred()

    async with seen("awaiting <Deferred at", wait):
        assert "subject" in line_of("subject")


@pytest.mark.bridgeio("gevent")
async def test_a_call_of_gevents_is_named() -> None:
    """A task that is in a blocking call of gevent's says so, and its stack shows the call."""
    import gevent.event

    async def wait() -> None:
        gevent.event.Event().wait()

    async with seen("in a call of gevent's", wait):
        assert "gevent.event.Event().wait()" in dump_tasks()


@pytest.mark.bridgeio("gevent")
async def test_a_greenlet_that_has_called_is_shown() -> None:
    """A greenlet of the application's is known from its first call of bridgeio until its end."""
    import gevent
    import gevent.event

    def native() -> None:
        bridgeio.blocking(checkpoint)()
        release.wait()

    release = gevent.event.Event()
    greenlet = gevent.spawn(native)
    name = f"greenlet {greenlet!r}"
    await until(lambda: line_of(name))
    assert "release.wait()" in dump_tasks()
    release.set()
    await until(lambda: greenlet.dead)
    assert not line_of(name)


@pytest.mark.bridgeio("threads")
async def test_a_blocking_section_is_named() -> None:
    """A task that blocks in its own way, without the baton, says so, and its stack shows where."""
    lock = original("_thread", "allocate_lock")()
    lock.acquire()

    async def wait() -> None:
        with bridgeio.lowlevel.blocking_section():
            lock.acquire()

    async with create_task_group() as group:
        group.start_soon(wait, name="subject")
        await until(lambda: "in a blocking section" in line_of("subject"))
        assert "lock.acquire()" in dump_tasks()
        lock.release()


def test_calls_of_blocking_are_shown_while_they_last() -> None:
    """A plain thread's call of `blocking` is a task of the run that all such calls share, and only that long."""

    async def look() -> str:
        return next(line for line in dump_tasks().splitlines() if "blocking calls of thread" in line)

    assert "running" in bridgeio.blocking(look)()
    assert "blocking calls of thread" not in dump_tasks()
