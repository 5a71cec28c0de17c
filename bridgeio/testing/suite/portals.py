"""Chapter: portals. A run that foreign threads call by an object, and runs that are started for that alone."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.from_thread import BlockingPortal, BlockingPortalProvider, start_blocking_portal
from bridgeio.testing.callees import add, fail
from bridgeio.testing.foreign import ForeignThread, cancelled_error
from bridgeio.testing.proof import witness_of
from bridgeio.testing.resources import holdings, unchanged, until, wait_until_back
from bridgeio.unpatched import get_ident

pytestmark = pytest.mark.bridgeio

_word: ContextVar[str] = ContextVar("word", default="none")


# A portal into a run


async def test_a_portal() -> None:
    """A thread calls async and plain functions in the run, and gets their results."""

    def visit(portal: BlockingPortal) -> tuple[int, str, bool]:
        return (
            portal.call(add, 1, 2),
            portal.call(bridgeio.current_backend),
            portal.call(get_ident) != get_ident(),
        )

    async with unchanged(), BlockingPortal() as portal:
        assert await ForeignThread(visit, portal).joined() == (3, bridgeio.current_backend(), True)


async def test_what_is_raised_in_a_portal() -> None:
    """An exception is raised where the call is waited for, the same object, and ends neither portal nor run."""
    error = KeyError("in the run")

    def refuse() -> None:
        raise error

    def visit(portal: BlockingPortal) -> list[bool]:
        seen = []
        for call in (partial(portal.call, refuse), partial(portal.call, fail, error)):
            try:
                call()
            except KeyError as raised:
                seen.append(raised is error)
        assert portal.call(add, 1, 2) == 3
        return seen

    async with BlockingPortal() as portal:
        assert await ForeignThread(visit, portal).joined() == [True, True]


async def test_a_portal_takes_the_threads_context() -> None:
    """The function sees what the calling thread has set."""

    def visit(portal: BlockingPortal) -> str:
        _word.set("the thread's")
        found: str = portal.call(_word.get)
        return found

    async with BlockingPortal() as portal:
        assert await ForeignThread(visit, portal).joined() == "the thread's"


async def test_many_threads_call_a_portal() -> None:
    """Threads that call at once get each its own results."""

    def visit(portal: BlockingPortal, number: int) -> bool:
        return all(portal.call(add, number, turn) == number + turn for turn in range(20))

    async with BlockingPortal() as portal:
        visitors = [ForeignThread(visit, portal, number) for number in range(10)]
        assert [await visitor.joined() for visitor in visitors] == [True] * 10


async def test_a_future_of_a_portal() -> None:
    """``start_task_soon`` returns at once; the future gives the result. The task has the name that was given."""
    release = bridgeio.Event()

    async def wait() -> str:
        await release.wait()
        return bridgeio.get_current_task().name

    def visit(portal: BlockingPortal) -> tuple[bool, str]:
        future = portal.start_task_soon(wait, name="a guest")
        was_done = future.done()
        portal.call(release.set)
        return was_done, future.result()

    async with BlockingPortal() as portal:
        was_done, name = await ForeignThread(visit, portal).joined()
    assert not was_done
    assert "a guest" in name


@pytest.mark.bridgeio_bug("thread-races")
async def test_a_cancelled_future_cancels_its_task() -> None:
    """Cancelling the future cancels the task; the portal goes on."""
    log: list[str] = []

    async def wait() -> None:
        log.append("waits")
        try:
            await bridgeio.sleep_forever()
        finally:
            log.append("cancelled")

    async with BlockingPortal() as portal:
        future = await ForeignThread(portal.start_task_soon, wait).joined()
        await until(lambda: log)
        await ForeignThread(future.cancel).joined()
        await until(lambda: len(log) == 2)
        assert future.cancelled()
        assert await ForeignThread(portal.call, add, 1, 2).joined() == 3
    assert log == ["waits", "cancelled"]


@pytest.mark.bridgeio_bug("thread-races")
async def test_futures_that_are_cancelled_at_any_moment() -> None:
    """Before its task starts, while it runs, or when it has ended: each future is done, cancelled or not, and every
    function that was entered was left."""
    entered: list[bool] = []
    left: list[bool] = []

    async def step() -> None:
        entered.append(True)
        try:
            await bridgeio.sleep(0)
        finally:
            left.append(True)

    def visit(portal: BlockingPortal) -> int:
        for number in range(100):
            future = portal.start_task_soon(step)
            for _ in range(number % 10):
                portal.call(int)
            future.cancel()
            if not future.cancelled():
                future.result()
        return 100

    async with unchanged(), BlockingPortal() as portal:
        assert await ForeignThread(visit, portal).joined() == 100
    assert len(entered) == len(left)


async def test_a_cancelled_task_cancels_its_future() -> None:
    """A portal that is stopped with ``cancel_remaining`` cancels its tasks, and who waits for them hears of it."""
    started: list[bool] = []

    async def wait() -> None:
        started.append(True)
        await bridgeio.sleep_forever()

    def visit(portal: BlockingPortal) -> str:
        try:
            portal.call(wait)
        except cancelled_error():
            return "cancelled"
        return "ended"

    async with unchanged():
        async with BlockingPortal() as portal:
            visitor = ForeignThread(visit, portal)
            await until(lambda: started)
            await portal.stop(cancel_remaining=True)
        assert await visitor.joined() == "cancelled"


async def test_a_task_of_a_portal_that_says_it_has_started() -> None:
    """``start_task`` waits for ``started``, and gives its value and a future for the result."""

    async def serve(name: str, *, task_status: bridgeio.TaskStatus[str]) -> str:
        await bridgeio.sleep(0)
        task_status.started(f"{name} has started")
        await bridgeio.sleep(0.001)
        return f"{name} has ended"

    def visit(portal: BlockingPortal) -> tuple[str, str]:
        future, value = portal.start_task(serve, "it")
        return value, future.result()

    async with BlockingPortal() as portal:
        assert await ForeignThread(visit, portal).joined() == ("it has started", "it has ended")


async def test_a_task_of_a_portal_that_never_starts() -> None:
    """A task that fails, or ends, before it has said so, is an error of ``start_task``."""

    async def forget(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await bridgeio.sleep(0)

    async def fail_early(*, task_status: bridgeio.TaskStatus[None]) -> None:
        raise KeyError("before it has started")

    async with BlockingPortal() as portal:
        with pytest.raises(RuntimeError, match="without calling"):
            await ForeignThread(portal.start_task, forget).joined()
        with pytest.raises(KeyError):
            await ForeignThread(portal.start_task, fail_early).joined()


class RefusedError(Exception):
    """What a block of ours ends with."""


async def test_a_wrapped_context_manager() -> None:
    """An async context manager is entered and left by one task; what ends the block goes through it."""
    log: list[object] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        inside = bridgeio.get_current_task()
        with bridgeio.CancelScope():
            try:
                yield "entered"
            except RefusedError as error:
                log.append(type(error))
            finally:
                log.append(bridgeio.get_current_task() == inside)

    def visit(portal: BlockingPortal) -> None:
        with portal.wrap_async_context_manager(manager()) as value:
            log.append(value)
        with portal.wrap_async_context_manager(manager()):
            raise RefusedError
        with pytest.raises(KeyError), portal.wrap_async_context_manager(manager()):
            raise KeyError

    async with BlockingPortal() as portal:
        await ForeignThread(visit, portal).joined()
    assert log == ["entered", True, RefusedError, True, True]


async def test_a_wrapped_context_manager_that_fails_to_enter() -> None:
    """What the manager raises as it is entered is raised in the thread."""
    log: list[None] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        if log:
            yield
        raise RefusedError

    def visit(portal: BlockingPortal) -> None:
        with portal.wrap_async_context_manager(manager()):
            pass

    async with BlockingPortal() as portal:
        with pytest.raises(RefusedError):
            await ForeignThread(visit, portal).joined()


# Its end


async def test_the_end_of_a_portal() -> None:
    """The block waits for the portal's tasks; calls that come after its end are a RuntimeError."""
    log: list[str] = []

    async def linger() -> None:
        log.append("starts")
        await bridgeio.sleep(0.005)
        log.append("ends")

    async with unchanged():
        async with BlockingPortal() as portal:
            visitor = ForeignThread(portal.call, linger)
            await until(lambda: log)
        assert log == ["starts", "ends"]
        await visitor.joined()
        for call in (portal.call, portal.start_task_soon, portal.start_task):
            with pytest.raises(RuntimeError, match="not open"):
                await ForeignThread(call, linger).joined()


async def test_a_portal_that_was_not_entered() -> None:
    """Before its block a portal takes no calls."""
    portal = BlockingPortal()
    with pytest.raises(RuntimeError, match="not open"):
        await ForeignThread(portal.call, int).joined()


async def test_sleeping_until_a_portal_is_stopped() -> None:
    """A thread may end the block that waits for that."""
    async with BlockingPortal() as portal:
        visitor = ForeignThread(portal.call, portal.stop)
        await portal.sleep_until_stopped()
    await visitor.joined()


@pytest.mark.bridgeio_bug("thread-races")
async def test_no_thread_is_left_waiting_by_a_portal_that_ends() -> None:
    """Threads that call while the portal ends all get an answer: a result, or that it is not open."""

    def visit(portal: BlockingPortal) -> str:
        while True:
            try:
                assert portal.call(add, 1, 2) == 3
            except RuntimeError as error:
                return str(error)

    for _ in range(10):
        async with BlockingPortal() as portal:
            visitors = [ForeignThread(visit, portal) for _ in range(3)]
            await bridgeio.sleep(0.002)
        for visitor in visitors:
            assert "not open" in await visitor.joined()


async def test_a_portal_in_its_runs_own_thread() -> None:
    """A call in the run's own thread would wait for itself: an error says what to do."""
    async with BlockingPortal() as portal:
        for call in (portal.call, portal.start_task_soon, portal.start_task):
            with pytest.raises(RuntimeError, match="own thread"):
                call(int)


# Runs for portals


def _portal_of(backend: str, options: dict[str, Any]) -> Any:
    return start_blocking_portal(backend, options)


def test_a_run_for_a_portal(backend: str, backend_options: dict[str, Any]) -> None:
    """``start_blocking_portal`` runs the backend in a thread of its own, which ends with the block."""
    with _portal_of(backend, backend_options) as portal:
        assert portal.call(bridgeio.current_backend) == backend  # the first run leaves what a framework keeps
    witness = witness_of(backend)
    before = holdings(witness, running=False)
    for _ in range(3):
        with _portal_of(backend, backend_options) as portal:
            assert portal.call(add, 1, 2) == 3
            assert portal.call(get_ident) != get_ident()
    wait_until_back(witness, before)


def test_the_end_of_a_run_for_a_portal(backend: str, backend_options: dict[str, Any]) -> None:
    """Its tasks are waited for; if an exception ends the block they are cancelled, and the exception comes out."""

    async def linger() -> str:
        await bridgeio.sleep(0.005)
        return "ended"

    with _portal_of(backend, backend_options) as portal:
        future = portal.start_task_soon(linger)
    assert future.result() == "ended"
    futures = []

    def refuse() -> None:
        with _portal_of(backend, backend_options) as portal:
            futures.append(portal.start_task_soon(bridgeio.sleep_forever))
            raise RefusedError

    with pytest.raises(RefusedError):
        refuse()
    assert futures[0].cancelled()
    with pytest.raises(RuntimeError, match="not open"):
        portal.call(int)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_in_a_portal(
    backend: str, backend_options: dict[str, Any], kind: type[BaseException]
) -> None:
    """KeyboardInterrupt and SystemExit go to who waits for the call, and end the portal and its run."""

    def call_for_ever(portal: BlockingPortal) -> None:
        while True:
            portal.call(int)

    with _portal_of(backend, backend_options) as portal:
        other = portal.start_task_soon(bridgeio.sleep_forever)
        with pytest.raises(kind):
            portal.call(fail, kind())
        with pytest.raises(cancelled_error()):
            other.result()
        with pytest.raises(RuntimeError, match="not open"):
            call_for_ever(portal)


def test_a_portal_that_cannot_start(backend: str) -> None:
    """What ``run`` would raise is raised at the beginning of the block."""
    with pytest.raises(TypeError, match="no option"), _portal_of(backend, {"nonsense": 1}):
        pass
    with pytest.raises(bridgeio.BackendNotFoundError), start_blocking_portal("abacus"):
        pass


def test_the_name_of_a_portals_thread(backend: str, backend_options: dict[str, Any]) -> None:
    """The thread can be given a name, for those who look at threads."""
    with start_blocking_portal(backend, backend_options, name="the portal"):
        assert "the portal" in [thread.name for thread in threading.enumerate()]


def test_a_provider_of_portals(backend: str, backend_options: dict[str, Any]) -> None:
    """Nested and parallel blocks share one portal, which ends with the last of them, and starts anew for the next."""
    provider = BlockingPortalProvider(backend, backend_options)
    with provider as first:
        with provider as second:
            assert second is first
        assert first.call(add, 1, 2) == 3
    with pytest.raises(RuntimeError, match="not open"):
        first.call(int)
    with provider as third:
        assert third is not first
        assert third.call(add, 1, 2) == 3


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
