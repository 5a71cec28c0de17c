"""`run_in_virtual_time`: the clock that the model test needs, and that users can have."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import bridgeio
from bridgeio.testing import run_in_virtual_time

pytestmark = pytest.mark.bridgeio

HOUR = 3600.0


def test_time_jumps_to_what_is_next(backend: str, backend_options: Mapping[str, object]) -> None:
    """Sleepers wake in the order of their deadlines and at their exact times, and nobody waits for real: this would
    take a day."""
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, hours: float) -> None:
        start = bridgeio.current_time()
        await bridgeio.sleep(hours * HOUR)
        woken.append((name, (bridgeio.current_time() - start) / HOUR))

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(sleeper, "c", 24)
            group.start_soon(sleeper, "a", 1)
            group.start_soon(sleeper, "b", 1.5)

    run_in_virtual_time(main, backend=backend, backend_options=backend_options)
    assert woken == [("a", 1.0), ("b", 1.5), ("c", 24.0)]


def test_time_stands_still_while_anyone_can_run(backend: str, backend_options: Mapping[str, object]) -> None:
    """A deadline is far as long as a task has something to do, however many turns that takes."""

    async def main() -> None:
        start = bridgeio.current_time()
        with bridgeio.move_on_after(1) as scope:
            for _ in range(200):
                await bridgeio.lowlevel.checkpoint()
            assert bridgeio.current_time() == start
            assert not scope.cancel_called
            await bridgeio.sleep_forever()
        assert scope.cancelled_caught
        assert bridgeio.current_time() == start + 1

    run_in_virtual_time(main, backend=backend, backend_options=backend_options)


def test_a_task_that_was_woken_runs_before_time_goes_on(backend: str, backend_options: Mapping[str, object]) -> None:
    """What a task does for another one happens at that moment, and not at the next deadline."""
    seen: list[float] = []

    async def main() -> None:
        event, start = bridgeio.Event(), bridgeio.current_time()

        async def waiter() -> None:
            await event.wait()
            seen.append(bridgeio.current_time() - start)

        async with bridgeio.create_task_group() as group:
            group.start_soon(waiter)
            await bridgeio.sleep(HOUR)
            event.set()
            await bridgeio.sleep(HOUR)

    run_in_virtual_time(main, backend=backend, backend_options=backend_options)
    assert seen == [HOUR]


def test_the_result_and_the_error_come_out(backend: str, backend_options: Mapping[str, object]) -> None:
    """It returns what the function returned, raises what it raised, and the next run has real time again."""

    async def answer(value: int) -> int:
        await bridgeio.sleep(HOUR)
        return value

    async def fail() -> None:
        with bridgeio.fail_after(HOUR):
            await bridgeio.sleep_forever()

    assert run_in_virtual_time(answer, 42, backend=backend, backend_options=backend_options) == 42
    with pytest.raises(TimeoutError):
        run_in_virtual_time(fail, backend=backend, backend_options=backend_options)
    assert run_in_virtual_time(answer, 43, backend=backend, backend_options=backend_options) == 43


def test_options_reach_the_backend(backend: str) -> None:
    """What `bridgeio.run` refuses is refused here too."""

    async def main() -> None:
        raise AssertionError("it must not start")

    with pytest.raises(TypeError):
        run_in_virtual_time(main, backend=backend, backend_options={"no_such_option": 1})
