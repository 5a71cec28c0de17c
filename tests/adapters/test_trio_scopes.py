"""Trio's scopes and nurseries are the real thing, and ours are views of them."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio
import trio.testing

import bridgeio
from bridgeio.contract import never
from bridgeio.registry import current_task
from echoing import ask, echo

# Cancellation, Trio's and ours


def test_trio_scope_ends_our_wait_and_takes_nothing() -> None:
    """A read that Trio cancels is taken back, and the next one gets what comes after."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                with trio.move_on_after(0.001) as scope:
                    await reader.readexactly(4)
                assert scope.cancelled_caught
                writer.write(b"late")
                assert await reader.readexactly(4) == b"late"

    trio.run(main)


def test_our_scope_ends_trio_waits() -> None:
    """Deadlines and cancel() of our scopes reach Trio's own calls, with Trio's own exception."""

    async def main() -> None:
        with bridgeio.move_on_after(0.001) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError), bridgeio.fail_after(0.001):
            await trio.Event().wait()
        by_hand = bridgeio.CancelScope()
        by_hand.cancel("enough")
        with by_hand:
            with pytest.raises(trio.Cancelled):
                await trio.lowlevel.checkpoint()
            await trio.sleep_forever()  # level-triggered, as Trio's are
        assert by_hand.cancelled_caught
        assert bridgeio.get_cancelled_exc_class() is trio.Cancelled

    bridgeio.run(main, backend="trio")


def test_scopes_of_both_kinds_nest_as_one_tree() -> None:
    """Trio's deadline shows in ours, and a shield of ours keeps Trio's cancellation out."""

    async def main() -> None:
        with trio.CancelScope(deadline=trio.current_time() + 50) as outer, bridgeio.move_on_after(100) as inner:
            assert bridgeio.current_effective_deadline() == outer.deadline
            outer.cancel()
            assert bridgeio.current_effective_deadline() == -float("inf")
            with bridgeio.CancelScope(shield=True) as shield:
                await bridgeio.sleep(0.001)
                shield.shield = False
                await bridgeio.sleep(0)
        assert outer.cancelled_caught
        assert not inner.cancelled_caught

    trio.run(main)


def test_waits_of_both_kinds_stand_side_by_side() -> None:
    """A function awaits Trio's events, threads and sleeps beside our streams."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                for number in range(3):
                    line = await trio.to_thread.run_sync(b"line %d\n".__mod__, number)
                    writer.write(line)
                    await trio.lowlevel.checkpoint()
                    assert await reader.readline() == line
                    await trio.lowlevel.checkpoint()

    bridgeio.run(main, backend="trio")


def test_a_wait_that_cannot_be_taken_back_goes_on_and_the_next_one_hears() -> None:
    """``abort`` said no: the wait ends by its wake-up, and Trio's cancellation comes at the next checkpoint."""

    async def main() -> None:
        record = current_task()
        steps = []

        async def wake_late() -> None:
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
                steps.append("woken")
                record.wake()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake_late)
            with trio.CancelScope() as scope:
                scope.cancel()
                await record.park(never)
                steps.append("went on")
                await bridgeio.sleep(0)
                steps.append("not reached")
            assert scope.cancelled_caught
        assert steps == ["woken", "went on"]

    trio.run(main)


def test_a_wake_that_nobody_waits_for_does_nothing() -> None:
    """Trio breaks if a task that runs, or that waits elsewhere, is rescheduled; late wake-ups are no such thing."""

    async def main() -> None:
        record = current_task()
        record.wake()
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(trio.Cancelled):
                await record.park(lambda: True)
            record.wake()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake_twice, record)
            await record.park(lambda: True)
            nursery.start_soon(wake_twice, record)
            await trio.sleep(0.001)

    async def wake_twice(record: Any) -> None:
        record.wake()
        record.wake()

    trio.run(main)


# Groups


def test_a_group_is_strict_on_every_run() -> None:
    """One failure comes out in an ExceptionGroup, also where the run was started in Trio's loose mode."""

    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(fail)

    with pytest.warns(trio.TrioDeprecationWarning), pytest.raises(ExceptionGroup) as caught:
        trio.run(main, strict_exception_groups=False)
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


def test_a_failure_of_the_block_is_told_once() -> None:
    """It stands in the group, and not a second time as what the group was raised in the course of."""

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.sleep_forever)
            raise LookupError

    with pytest.raises(ExceptionGroup) as caught:
        bridgeio.run(main, backend="trio")
    assert [type(error) for error in caught.value.exceptions] == [LookupError]
    assert caught.value.__context__ is None


def test_a_failure_of_a_group_is_forgotten_at_once() -> None:
    """No frame of ours keeps it in a circle: what it holds is freed before the garbage collector runs."""

    class BigError(Exception):
        pass

    async def fail() -> None:
        raise BigError

    async def main() -> weakref.ref[BaseException] | None:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(fail)
        except ExceptionGroup as caught:
            return weakref.ref(caught.exceptions[0])
        return None

    gc.collect()
    gc.disable()
    try:
        ref = bridgeio.run(main, backend="trio")
        assert ref is not None
        assert ref() is None
    finally:
        gc.enable()


def test_cancellations_do_not_come_out_of_a_group_in_a_group() -> None:
    """Block and children cancelled from outside: one plain Cancelled, which ``except`` finds."""

    async def main() -> None:
        with trio.CancelScope() as outer:
            try:
                async with bridgeio.create_task_group() as group:
                    group.start_soon(trio.sleep_forever)
                    group.start_soon(bridgeio.sleep_forever)
                    outer.cancel()
                    await trio.sleep_forever()
            except trio.Cancelled:
                raise
            except BaseException as error:
                pytest.fail(f"{error!r} hides the cancellation")
        assert outer.cancelled_caught

    trio.run(main)


def test_failures_come_out_without_the_cancellations_beside_them() -> None:
    """A child that fails while an outer scope is cancelled: its error, and no Cancelled, is in the group."""

    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError

    async def cancel_outside(outer: trio.CancelScope) -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(fail_when_cancelled)
            await trio.testing.wait_all_tasks_blocked()
            outer.cancel()
            await trio.sleep_forever()

    async def main() -> None:
        with trio.CancelScope() as outer:
            with pytest.raises(ExceptionGroup) as caught:
                await cancel_outside(outer)
            assert [type(error) for error in caught.value.exceptions] == [LookupError]

    trio.run(main)


def test_our_groups_are_trio_nurseries() -> None:
    """A child of our group is a child of a nursery in Trio's own task tree, under its name."""

    async def main() -> None:
        parent = trio.lowlevel.current_task()

        async def child() -> None:
            native = trio.lowlevel.current_task()
            assert native.parent_nursery is not None
            assert native.parent_nursery.parent_task is parent
            assert native.name == current_task().name == "Ishmael"

        async with bridgeio.create_task_group() as group:
            group.start_soon(child, name="Ishmael")

    bridgeio.run(main, backend="trio")


def test_start_hands_over_what_the_child_says() -> None:
    """``task_status`` is Trio's: a server starts as a child, and is drained when its group is cancelled."""

    async def main() -> None:
        servers: list[bridgeio.Server] = []
        async with bridgeio.create_task_group() as group:
            servers.append(await group.start(bridgeio.serve_task, echo, "127.0.0.1"))
            assert await ask(servers[0].port, b"there") == b"there"
            group.cancel_scope.cancel()
        assert servers[0].closing.is_set()

    bridgeio.run(main, backend="trio")


def test_start_of_a_child_that_fails_leaves_the_group_alone() -> None:
    """Its error is raised where it was started, as it is; one that ends silently is a RuntimeError."""

    async def fail(*, task_status: bridgeio.TaskStatus[None]) -> None:
        raise LookupError

    async def end(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            with pytest.raises(LookupError):
                await group.start(fail)
            with pytest.raises(RuntimeError, match="started"):
                await group.start(end)
            group.start_soon(trio.sleep, 0)

    bridgeio.run(main, backend="trio")


def test_start_in_a_cancelled_scope_starts_nothing() -> None:
    """As every function of ours, ``start`` looks before it takes anything; Trio's looks after."""

    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        pytest.fail("must not start")

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            with bridgeio.CancelScope() as scope:
                scope.cancel()
                await group.start(child)
            assert scope.cancelled_caught

    bridgeio.run(main, backend="trio")
