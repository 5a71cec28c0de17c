"""Scopes, nurseries and helpers of Trio's, inside bridgeio's and around them, in any order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import copy_context
from threading import get_ident
from typing import Any

import pytest
import trio
import trio.testing

import bridgeio
from bridgeio.contract import CURRENT
from bridgeio.registry import current_task
from bridgeio.testing.peers import peer_stream

Main = Callable[[], Coroutine[Any, Any, Any]]
Wait = Callable[[], Coroutine[Any, Any, Any]]

both_waits = pytest.mark.parametrize("wait", [bridgeio.sleep_forever, trio.sleep_forever], ids=["our wait", "Trio's"])


@pytest.fixture(params=["our run", "Trio's run"])
def inside(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Runs a function in a run that bridgeio started, or in one of Trio's own."""
    return (lambda main: bridgeio.run(main, backend="trio")) if request.param == "our run" else trio.run


# Scopes


@both_waits
@pytest.mark.parametrize("trio_outside", [True, False])
def test_each_scope_absorbs_its_own(inside: Callable[[Main], Any], wait: Wait, trio_outside: bool) -> None:
    """The outer of two, one of each kind, is cancelled: the inner lets that through; then the inner alone."""

    def pair() -> tuple[Any, Any]:
        scopes = (trio.CancelScope(), bridgeio.CancelScope())
        return scopes if trio_outside else (scopes[1], scopes[0])

    async def main() -> list[bool]:
        caught: list[bool] = []
        for cancel_outer in (True, False):
            outer, inner = pair()
            with outer, inner:
                (outer if cancel_outer else inner).cancel()
                await wait()
            caught += [outer.cancelled_caught, inner.cancelled_caught]
        return caught

    assert inside(main) == [True, False, False, True]


@both_waits
@pytest.mark.parametrize("trio_shield", [True, False])
def test_a_shield_of_either_kind_keeps_either_out(inside: Callable[[Main], Any], wait: Wait, trio_shield: bool) -> None:
    """And its own deadline ends it."""

    async def main() -> list[bool]:
        outer: Any = bridgeio.CancelScope() if trio_shield else trio.CancelScope()
        with outer:
            outer.cancel()
            shield: Any = trio.CancelScope(shield=True) if trio_shield else bridgeio.CancelScope(shield=True)
            with shield:
                await trio.lowlevel.checkpoint()
                await bridgeio.sleep(0)
                shield.deadline = trio.current_time()
                await wait()
            await wait()
        return [outer.cancelled_caught, shield.cancelled_caught]

    assert inside(main) == [True, True]


@both_waits
def test_fail_after_of_either_kind_raises_its_own_error(inside: Callable[[Main], Any], wait: Wait) -> None:
    """`trio.TooSlowError` out of Trio's and TimeoutError out of ours, whichever is outside."""

    async def both(outer: Any, inner: Any) -> None:
        with outer, inner:
            await wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await both(trio.fail_after(3600), bridgeio.fail_after(0))
        with pytest.raises(trio.TooSlowError):
            await both(bridgeio.fail_after(3600), trio.fail_after(0))
        with pytest.raises(trio.TooSlowError):
            await both(trio.fail_after(0), bridgeio.fail_after(3600))

    inside(main)


def test_a_relative_deadline_counts_from_entering() -> None:
    """Trio's `move_on_after` made outside counts when it is entered, and shows in ours by then."""

    async def main() -> list[float]:
        scope = trio.move_on_after(10)
        await bridgeio.sleep(5)
        with scope:
            before = bridgeio.current_effective_deadline()
            await bridgeio.sleep_forever()
        return [before, bridgeio.current_time()]

    clock = trio.testing.MockClock(autojump_threshold=0)
    start = clock.current_time()
    assert bridgeio.run(main, backend="trio", backend_options={"clock": clock}) == [start + 15, start + 15]


# Nurseries and groups


@both_waits
def test_a_nursery_in_a_group_and_a_group_in_a_nursery(inside: Callable[[Main], Any], wait: Wait) -> None:
    """The outer one is cancelled, and all children of both end before it does."""
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await wait()
        finally:
            with trio.CancelScope(shield=True):
                await bridgeio.sleep(0)
            ended.append(name)

    async def main() -> None:
        async with bridgeio.create_task_group() as group, trio.open_nursery() as nursery:
            group.start_soon(child, "group's")
            nursery.start_soon(child, "nursery's")
            await trio.testing.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        async with trio.open_nursery() as nursery, bridgeio.create_task_group() as group:
            group.start_soon(child, "group's")
            nursery.start_soon(child, "nursery's")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    inside(main)
    assert sorted(ended) == ["group's", "group's", "nursery's", "nursery's"]


def test_a_failure_goes_through_both_kinds(inside: Callable[[Main], Any]) -> None:
    """A child of a group in a nursery in a group: each wraps it once, and the siblings are cancelled."""

    async def fail() -> None:
        raise LookupError

    async def bundle() -> None:
        async with bridgeio.create_task_group() as outer:
            outer.start_soon(trio.sleep_forever)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bridgeio.sleep_forever)
                async with bridgeio.create_task_group() as inner:
                    inner.start_soon(fail)

    async def main() -> list[BaseException]:
        error: BaseException | None = None
        wrappings: list[BaseException] = []
        try:
            await bundle()
        except ExceptionGroup as group:
            error = group
        while isinstance(error, BaseExceptionGroup):
            wrappings.append(error)
            (error,) = error.exceptions
        assert isinstance(error, LookupError)
        return wrappings

    assert len(inside(main)) == 3


def test_start_works_across(inside: Callable[[Main], Any]) -> None:
    """A nursery starts a bridgeio server, and a group starts `trio.serve_tcp`: each hands over what it says."""

    async def answer(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(b"ours")

    async def trio_answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"Trio's")

    async def main() -> list[bytes]:
        answers: list[bytes] = []
        async with trio.open_nursery() as nursery, bridgeio.create_task_group() as group:
            server = await nursery.start(bridgeio.serve_task, answer, "127.0.0.1")
            listeners = await group.start(trio.serve_tcp, trio_answer, 0)
            for port in (server.port, listeners[0].socket.getsockname()[1]):
                reader, writer = await bridgeio.open_connection("127.0.0.1", port)
                async with writer:
                    answers.append(await reader.read())
            nursery.cancel_scope.cancel()
        return answers

    assert inside(main) == [b"ours", b"Trio's"]


def test_a_loose_run_leaves_groups_strict_and_nurseries_loose() -> None:
    """``strict_exception_groups=False`` is for Trio's nurseries alone."""

    async def fail() -> None:
        raise LookupError

    async def main() -> None:
        with pytest.raises(LookupError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
        with pytest.raises(ExceptionGroup):
            async with bridgeio.create_task_group() as group:
                group.start_soon(fail)

    with pytest.warns(trio.TrioDeprecationWarning):
        bridgeio.run(main, backend="trio", backend_options={"strict_exception_groups": False})


# Threads, interrupts, helpers


def test_a_worker_thread_of_trios_and_a_scope_of_ours(inside: Callable[[Main], Any]) -> None:
    """`trio.to_thread` is not abandoned unless it says so: its result comes, and the cancellation at the next
    wait. And `trio.from_thread` brings bridgeio's functions back into the run."""
    release = threading.Event()

    def cancel(scope: bridgeio.CancelScope) -> str:
        trio.from_thread.run_sync(scope.cancel)
        return trio.from_thread.run(in_run)

    async def in_run() -> str:
        with bridgeio.CancelScope(shield=True):
            await bridgeio.sleep(0)
        return bridgeio.current_backend()

    async def main() -> list[object]:
        log: list[object] = []
        with bridgeio.CancelScope() as scope:
            log.append(await trio.to_thread.run_sync(cancel, scope))
            await bridgeio.sleep(0)
            log.append("not reached")
        with bridgeio.move_on_after(0.001) as abandoning:
            await trio.to_thread.run_sync(release.wait, 30, abandon_on_cancel=True)
        release.set()
        return [*log, scope.cancelled_caught, abandoning.cancelled_caught]

    assert inside(main) == ["trio", True, True]


@both_waits
def test_interrupts_are_held_off_where_trio_holds_them_off(inside: Callable[[Main], Any], wait: Wait) -> None:
    """Trio's protection against KeyboardInterrupt is inherited by children of a group, as by a nursery's."""
    seen: list[bool] = []

    async def child() -> None:
        seen.append(trio.lowlevel.currently_ki_protected())
        with bridgeio.move_on_after(0):
            await wait()
        seen.append(trio.lowlevel.currently_ki_protected())

    @trio.lowlevel.enable_ki_protection
    async def protected() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    async def main() -> None:
        await protected()
        assert not trio.lowlevel.currently_ki_protected()

    inside(main)
    assert seen[:2] == seen[2:]


def test_tasks_in_our_waits_count_as_blocked(inside: Callable[[Main], Any]) -> None:
    """`wait_all_tasks_blocked` sees a task in a read, in an Event and in a sleep as asleep, and none too early."""
    log: list[str] = []

    async def read(reader: bridgeio.Reader) -> None:
        await bridgeio.sleep(0)
        log.append("reads")
        await reader.read(1)

    async def wait(event: bridgeio.Event) -> None:
        await bridgeio.sleep(0)
        log.append("waits")
        await event.wait()

    async def main() -> None:
        async with peer_stream() as (reader, _, _peer), bridgeio.create_task_group() as group:
            group.start_soon(read, reader)
            group.start_soon(wait, bridgeio.Event())
            await trio.testing.wait_all_tasks_blocked()
            log.append("all are blocked")
            group.cancel_scope.cancel()

    inside(main)
    assert log[2:] == ["all are blocked"]


def test_a_sequencer_orders_ours(inside: Callable[[Main], Any]) -> None:
    """`trio.testing.Sequence` works in children of a group, between waits of ours."""
    log: list[int] = []

    async def child(steps: trio.testing.Sequencer, *numbers: int) -> None:
        for number in numbers:
            async with steps(number):
                await bridgeio.sleep(0)
                log.append(number)

    async def main() -> None:
        steps = trio.testing.Sequencer()
        async with bridgeio.create_task_group() as group:
            group.start_soon(child, steps, 1, 2)
            group.start_soon(child, steps, 0, 3)

    inside(main)
    assert log == [0, 1, 2, 3]


# Generators and guests


def test_a_generator_closed_with_its_scope_cleans_up(inside: Callable[[Main], Any]) -> None:
    """Closed early by who uses it, its ``finally`` waits in bridgeio."""
    log: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 0
        finally:
            await bridgeio.sleep(0)
            log.append(bridgeio.current_backend())

    async def main() -> None:
        generator: Any = numbers()
        assert await anext(generator) == 0
        await generator.aclose()

    inside(main)
    assert log == ["trio"]


@pytest.mark.parametrize(("run", "expected"), [(bridgeio.run, "waited"), (trio.run, "cancelled")])
def test_a_generator_left_half_way_waits_only_in_a_run_of_ours(run: Any, expected: str) -> None:
    """`bridgeio.run` closes it in the run. `trio.run` closes it in a cancelled scope, and our waits in its
    ``finally`` say so, also if they are the first that the run sees of bridgeio."""
    log: list[str] = []
    kept: list[Any] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 0
        finally:
            try:
                await bridgeio.sleep(0)
                log.append("waited")
            except trio.Cancelled:
                log.append("cancelled")
                raise

    async def main() -> None:
        kept.append(numbers())
        assert await anext(kept[0]) == 0

    run(main, backend="trio") if run is bridgeio.run else run(main)
    assert log == [expected]


@pytest.mark.parametrize("host", ["asyncio", "uvloop"])
def test_a_guest_run_and_its_host_each_have_scopes(host: str) -> None:
    """Trio as a guest of a loop on which bridgeio runs: scopes and groups of both worlds at once, in one thread."""
    pytest.importorskip(host)
    log: list[str] = []

    async def bounded() -> str:
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.sleep_forever)
            await bridgeio.sleep(0.001)
            group.cancel_scope.cancel()
        log.append(bridgeio.current_backend())
        return bridgeio.current_backend()

    async def main() -> str:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            bounded,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        await bounded()
        guest: str = (await ended).unwrap()
        return guest

    assert bridgeio.run(main, backend=host) == "trio"
    assert sorted(log) == sorted([host, "trio"])


# Which task runs


def test_a_child_is_not_taken_for_the_parent_whose_context_it_has() -> None:
    """Nor is a callback of Trio's, and nor does a record run on when its task has ended."""

    async def main() -> None:
        parent = current_task()
        seen: list[Any] = []

        async def child() -> None:
            assert CURRENT.get() is parent
            seen.append(parent.thread)
            seen.append(current_task())
            assert seen[-1].thread == get_ident()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        assert parent.thread == get_ident()
        trio.lowlevel.current_trio_token().run_sync_soon(copy_context().run, lambda: seen.append(parent.thread))
        await trio.testing.wait_all_tasks_blocked()
        assert [seen[0], seen[1].thread, seen[2]] == [0, 0, 0]

    trio.run(main)


def test_a_task_whose_coroutine_is_exchanged_is_known() -> None:
    """Some libraries put a generator of theirs around the coroutine that Trio drives: then Trio itself is asked."""

    async def main() -> None:
        record, native = current_task(), trio.lowlevel.current_task()
        driven = native.coro
        try:
            native.coro = (_ for _ in ())  # type: ignore[assignment]
            assert record.thread == get_ident()
            assert bridgeio.current_time() <= trio.current_time()
        finally:
            native.coro = driven

    trio.run(main)
