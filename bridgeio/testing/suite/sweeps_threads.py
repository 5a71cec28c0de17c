"""Chapter: sweeps of calls in worker threads and worker processes: no token is lost, and no thread's word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

import bridgeio
from bridgeio import from_thread, lowlevel, to_process, to_thread
from bridgeio.from_thread import BlockingPortal, start_blocking_portal
from bridgeio.process_pool import pool_of
from bridgeio.registry import current_host
from bridgeio.testing.foreign import ForeignThread, cancelled_error
from bridgeio.testing.neighbours import beside, soon
from bridgeio.testing.sweeping import Operation, sweep

pytestmark = pytest.mark.bridgeio


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("abandon", [False, True], ids=["waits", "abandons"])
async def test_a_swept_call_in_a_thread(abandon: bool) -> None:
    """Whenever it is cancelled, what was called has an end, its token comes back, and a result that was waited for
    has come."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        limiter = bridgeio.CapacityLimiter(1)
        called: list[int] = []
        returned: list[int] = []

        def work() -> int:
            called.append(1)
            return 1

        async def hold(*, task_status: bridgeio.TaskStatus[None]) -> None:
            async with limiter:
                task_status.started()
                await soon(lambda: limiter.statistics().tasks_waiting)

        async def operation() -> None:
            for _ in range(2):
                returned.append(await to_thread.run_sync(work, abandon_on_cancel=abandon, limiter=limiter))

        async with beside(hold):
            yield operation
        await soon(lambda: limiter.borrowed_tokens == 0)
        assert abandon or returned == called

    await sweep(world, name="to_thread.run_sync")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("thread-races")
@pytest.mark.parametrize("abandon", [False, True], ids=["waits", "abandons"])
async def test_a_swept_call_from_a_thread(abandon: bool) -> None:
    """Whenever the task is cancelled, each function that its thread has called was left, and the thread has ended."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        limiter = bridgeio.CapacityLimiter(1)
        entered: list[bool] = []
        left: list[bool] = []

        async def step() -> None:
            entered.append(True)
            try:
                await bridgeio.sleep(0.0002)
                await lowlevel.checkpoint()
            finally:
                left.append(True)

        def work() -> None:
            for _ in range(2):
                from_thread.run(step)

        async def operation() -> None:
            await to_thread.run_sync(work, abandon_on_cancel=abandon, limiter=limiter)

        yield operation
        await soon(lambda: limiter.borrowed_tokens == 0)
        assert len(entered) == len(left)

    await sweep(world, name="from_thread.run")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_portal() -> None:
    """Whenever its block is cancelled, every thread that calls a portal gets an answer, and its tasks have ended."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        visitors: list[ForeignThread[None]] = []

        def visit(portal: BlockingPortal) -> None:
            with suppress(RuntimeError, cancelled_error()):
                portal.call(bridgeio.sleep, 0.0002)
                portal.start_task_soon(bridgeio.sleep, 0.0005)
                portal.call(portal.stop)

        async def operation() -> None:
            async with BlockingPortal() as portal:
                visitors.append(ForeignThread(visit, portal))
                await portal.sleep_until_stopped()

        yield operation
        for visitor in visitors:
            await visitor.joined()

    await sweep(world, name="BlockingPortal")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("abandon", [False, True], ids=["waits", "abandons"])
async def test_a_swept_call_into_another_run(abandon: bool) -> None:
    """Whenever it is cancelled, what began there has an end: before the caller goes on, unless he has abandoned it."""
    with start_blocking_portal("threads") as portal:

        @asynccontextmanager
        async def world() -> AsyncIterator[Operation]:
            began: list[bool] = []
            left: list[bool] = []

            async def step() -> None:
                began.append(True)
                try:
                    await bridgeio.sleep(0.0002)
                finally:
                    left.append(True)

            async def operation() -> None:
                try:
                    for _ in range(2):
                        await portal.call_async(step, abandon_on_cancel=abandon)
                finally:
                    assert abandon or began == left

            yield operation
            await soon(lambda: began == left)

        await sweep(world, name="BlockingPortal.call_async")


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("cancellable", [False, True], ids=["waits", "kills"])
async def test_a_swept_call_in_a_process(cancellable: bool) -> None:
    """Whenever it is cancelled, its token comes back, and every worker is either idle and well, or gone."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        limiter = bridgeio.CapacityLimiter(1)
        pool = pool_of(current_host())
        returned: list[int] = []

        async def hold(*, task_status: bridgeio.TaskStatus[None]) -> None:
            async with limiter:
                task_status.started()
                await soon(lambda: limiter.statistics().tasks_waiting)

        async def operation() -> None:
            returned.append(await to_process.run_sync(abs, -1, cancellable=cancellable, limiter=limiter))

        async with beside(hold):
            yield operation
        assert limiter.borrowed_tokens == 0
        assert returned in ([], [1])
        assert pool.idle <= 1
        assert await to_process.run_sync(abs, -2) == 2
        pool.end()

    await sweep(world, name="to_process.run_sync")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
