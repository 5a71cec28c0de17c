"""Steps that asyncio does not see: a task of ours that bytes have woken goes on without asking the loop.

What it does in such a step must come out as if asyncio had made it. So asyncio is the judge: the same
code runs in a task of its own, woken by a Future of its own, and does the same.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

import bridgeio
from bridgeio.contract import Scope
from bridgeio.poller import READ, Poller
from bridgeio.registry import current_task
from bridgeio.testing.peers import peer_stream
from bridgeio.testing.resources import until
from loops import run_native, turns

Log = list[str]
Act = Callable[[Log, Callable[[], Awaitable[object]]], Coroutine[Any, Any, object]]


async def note(log: Log, what: str, waiting: Awaitable[object]) -> None:
    try:
        result = await waiting
    except BaseException as error:
        log.append(f"{what}: {type(error).__name__}{error.args}")
        raise
    log.append(f"{what}: {result!r}")


def cancel_me(*reason: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel(*reason)


# What a task does in the step in which it is woken


async def wait_again(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    cancel_me("why")
    await note(log, "wait", wait())


async def wait_again_and_go_on(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    cancel_me()
    with pytest.raises(asyncio.CancelledError):
        await wait()
    log.append(f"cancelling: {asyncio.current_task().cancelling()}")  # type: ignore[union-attr]
    await note(log, "slept", asyncio.sleep(0, "well"))


async def end(log: Log, wait: Callable[[], Awaitable[object]]) -> str:
    cancel_me()
    return "a result"


async def fail(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    cancel_me()
    raise LookupError("failed")


async def await_a_future(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    future = asyncio.get_running_loop().create_future()
    cancel_me()
    try:
        await note(log, "future", future)
    finally:
        log.append(f"the future was cancelled: {future.cancelled()}")


async def await_a_future_that_is_done(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    future = asyncio.get_running_loop().create_future()
    cancel_me()
    asyncio.get_running_loop().call_soon(future.set_result, "done")
    await note(log, "future", asyncio.shield(future))


async def yield_once(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    cancel_me()
    await note(log, "sleep(0)", asyncio.sleep(0))


async def take_it_back(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    cancel_me()
    asyncio.current_task().uncancel()  # type: ignore[union-attr]
    await note(log, "future", asyncio.sleep(0, "well"))


async def just_end(log: Log, wait: Callable[[], Awaitable[object]]) -> str:
    return "a result"


async def just_fail(log: Log, wait: Callable[[], Awaitable[object]]) -> None:
    raise KeyError("failed")


async def just_await(log: Log, wait: Callable[[], Awaitable[object]]) -> str:
    return await asyncio.sleep(0.001, "slept")


ACTS = [
    wait_again,
    wait_again_and_go_on,
    end,
    fail,
    await_a_future,
    await_a_future_that_is_done,
    yield_once,
    take_it_back,
    just_end,
    just_fail,
    just_await,
]


def outcome_of(task: asyncio.Task[Any]) -> str:
    if task.cancelled():
        return f"cancelled, cancelling {task.cancelling()}"
    error = task.exception()
    return f"cancelling {task.cancelling()}, " + (repr(error) if error is not None else repr(task.result()))


async def judged_by_asyncio(act: Act) -> Log:
    log: Log = []
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()

    async def body() -> object:
        await first
        return await act(log, lambda: second)

    task = loop.create_task(body())
    await turns()
    first.set_result(None)
    await asyncio.wait([task])
    return [*log, outcome_of(task)]


async def done_by_us(act: Act) -> Log:
    """The native task under our child is the one that is looked at, the group's scope hides nothing of it."""
    log: Log = []
    natives: list[asyncio.Task[Any]] = []
    async with peer_stream() as (reader, _, peer):

        async def body() -> object:
            native = asyncio.current_task()
            assert native is not None
            natives.append(native)
            await reader.read(1)
            return await act(log, lambda: reader.read(1))

        current_task().host.spawn(body(), "child", Scope())
        await until(lambda: bool(natives) and reader._reading)
        peer.send(b"x")
        await asyncio.wait(natives)
        return [*log, outcome_of(natives[0])]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_what_a_task_does_in_an_unseen_step_is_as_asyncio_has_it(world: str, act: Act) -> None:
    """Cancelling itself, ending, failing, awaiting asyncio's own: each as in a task of asyncio's own."""

    async def main() -> tuple[Log, Log]:
        return await done_by_us(act), await judged_by_asyncio(act)

    ours, judge = bridgeio.run(main, backend=world)
    assert ours == judge


natives: set[asyncio.Task[None]] = set()


def start(coro: Coroutine[Any, Any, None], by_us: bool) -> None:
    if by_us:
        current_task().host.spawn(coro, "child", Scope())
    else:
        natives.add(task := asyncio.create_task(coro))
        task.add_done_callback(natives.discard)


@pytest.mark.parametrize("started_by_us", [True, False])
def test_a_task_goes_on_within_the_dispatch_that_wakes_it(world: str, started_by_us: bool) -> None:
    """Who waits for bytes has taken its step, as the current task and in its context, when `dispatch` returns."""
    seen: list[object] = []
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nobody's")

    async def read(reader: bridgeio.Reader) -> None:
        variable.set("the task's")
        while await reader.read(1) != b"!":
            seen.extend([asyncio.current_task(), variable.get()])

    async def main() -> None:
        async with peer_stream() as (reader, _, peer):
            start(read(reader), started_by_us)
            await until(lambda: reader._reading)
            loop = asyncio.get_running_loop()
            for number in (1, 2):
                done = loop.create_future()
                peer.send(b"x")
                loop.call_soon(dispatch, current_task().host.poller(), done)
                assert await done == 2 * number
                assert isinstance(seen[-2], asyncio.Task)
                assert seen[-2] is not asyncio.current_task()
                assert seen[-1] == "the task's"
            peer.send(b"!")
            await until(lambda: not reader._reading)

    def dispatch(poller: Poller, done: asyncio.Future[int]) -> None:
        poller.dispatch()
        done.set_result(len(seen))

    bridgeio.run(main, backend=world)


@pytest.mark.parametrize("started_by_us", [True, False])
def test_an_event_within_a_step_makes_no_other_task_step(world: str, started_by_us: bool) -> None:
    """Code between two waits is atomic, even if it calls what only the loop should call."""
    log: list[str] = []

    async def read(reader: bridgeio.Reader) -> None:
        log.append(str(await reader.read(1)))

    async def main() -> None:
        async with peer_stream() as (reader, _, peer):
            start(read(reader), started_by_us)
            await until(lambda: reader._reading)
            peer.send(b"x")
            source: Any = reader._source
            source.on_event(READ)
            log.append("the step ends")
            await until(lambda: len(log) == 2)

    bridgeio.run(main, backend=world)
    assert log == ["the step ends", "b'x'"]


def test_a_native_cancel_keeps_its_message(world: str) -> None:
    """`Task.cancel(msg)` ends a wait of ours with that message, as it does with asyncio's own."""

    async def main() -> None:
        async with peer_stream() as (reader, _, _peer):
            task = asyncio.create_task(reader.read(1))
            await until(lambda: reader._reading)
            task.cancel("going down")
            with pytest.raises(asyncio.CancelledError, match="going down"):
                await task

    run_native(world, main)


def test_asyncio_shows_where_a_task_of_ours_is() -> None:
    """By its stack and in words, as for any of its own."""

    async def child() -> None:
        seen.append(asyncio.current_task())
        begun.set()
        await enough.wait()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
            await begun.wait()
            native = seen[0]
            assert native is not None
            assert [frame.f_code.co_name for frame in native.get_stack()] == ["_run_child"]
            assert "running at" in repr(native)
            enough.set()

    seen: list[asyncio.Task[None] | None] = []
    begun, enough = bridgeio.Event(), bridgeio.Event()
    bridgeio.run(main, backend="asyncio")
