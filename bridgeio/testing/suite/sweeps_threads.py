"""Chapter: sweeps of calls in worker threads and worker processes: no token is lost, and no thread's word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import bridgeio
from bridgeio import to_thread
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


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
