"""Chapter: calls between runs. A task of one run calls a portal into another, without a thread that waits."""

from __future__ import annotations

import threading

import pytest

import bridgeio
from bridgeio.from_thread import BlockingPortal, start_blocking_portal
from bridgeio.testing.callees import add, fail
from bridgeio.testing.foreign import Door
from bridgeio.testing.meetings import when
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


async def test_a_task_of_another_run_calls_a_portal() -> None:
    """`call_async` gives results and raises errors, and the caller's own run goes on meanwhile."""
    turns: list[int] = []
    released = threading.Event()

    async def hold() -> str:
        while not released.is_set():
            await bridgeio.sleep(0.001)
        return bridgeio.current_backend()

    async def go_on() -> None:
        for number in range(3):
            await bridgeio.sleep(0)
            turns.append(number)
        released.set()

    with start_blocking_portal("threads") as portal:
        async with bridgeio.create_task_group() as group:
            group.start_soon(go_on)
            assert await portal.call_async(hold) == "threads"
            assert turns == [0, 1, 2]
        assert await portal.call_async(add, 1, 2) == 3
        assert await portal.call_async(int, "4") == 4
        with pytest.raises(KeyError):
            await portal.call_async(fail, KeyError("there"))


class _Stay:
    """Waits in the other run until it is cancelled; then it may clean up, and return all the same."""

    def __init__(self) -> None:
        self.began = self.left = False

    async def __call__(self, kind: str) -> str:
        self.began = True
        try:
            await bridgeio.sleep_forever()
        except bridgeio.get_cancelled_exc_class():
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.005)
            if kind == "returns":
                return kind
            if kind == "raises":
                raise KeyError(kind) from None
            raise
        finally:
            self.left = True
        raise AssertionError


@pytest.mark.parametrize("kind", ["is cancelled", "returns", "raises"])
async def test_a_cancelled_call_into_another_run_waits_for_its_end(kind: str) -> None:
    """The cancel reaches the task there; what that has returned or raised is not lost, and the rest is cancelled."""
    stay = _Stay()
    got: list[object] = []
    with start_blocking_portal("threads") as portal:
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: stay.began, scope.cancel)
                try:
                    got.append(await portal.call_async(stay, kind))
                except KeyError:
                    got.append("raises")
                finally:
                    assert stay.left
                await bridgeio.sleep_forever()
        assert scope.cancelled_caught
    assert got == [] if kind == "is cancelled" else [kind]


async def test_a_call_into_another_run_that_is_cancelled_before_it_begins() -> None:
    """The function is called all the same, and cancelled at its first wait."""
    stay, door = _Stay(), Door()

    def cancel_and_open() -> None:
        scope.cancel()
        door.open()

    with start_blocking_portal("threads") as portal:
        held = portal.start_task_soon(door.wait)
        await until(lambda: door.came)
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: portal._posted, cancel_and_open)
                await portal.call_async(stay, "is cancelled")
        assert scope.cancelled_caught
        assert stay.left
        assert held.result() == "passed"


async def test_an_abandoned_call_into_another_run() -> None:
    """With ``abandon_on_cancel`` the caller goes on at once; the task there is cancelled too, and ends alone."""
    stay = _Stay()
    with start_blocking_portal("threads") as portal:
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: stay.began, scope.cancel)
                await portal.call_async(stay, "returns", abandon_on_cancel=True)
        assert scope.cancelled_caught
        await until(lambda: stay.left)


async def test_a_task_of_a_portals_own_run_need_not_call_it() -> None:
    """It is refused: the task would wait for its own run."""
    async with BlockingPortal() as portal:
        with pytest.raises(RuntimeError, match="own thread"):
            await portal.call_async(add, 1, 2)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
