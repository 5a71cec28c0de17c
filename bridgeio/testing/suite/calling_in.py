"""Chapter: calling in. Threads that have a run call functions for them, with and without its token."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest

import bridgeio
from bridgeio import from_thread, lowlevel, to_thread
from bridgeio.testing.callees import add, fail
from bridgeio.testing.foreign import Door, ForeignThread
from bridgeio.testing.resources import unchanged, until
from bridgeio.unpatched import get_ident

pytestmark = pytest.mark.bridgeio

_word: ContextVar[str] = ContextVar("word", default="none")


# From worker threads


async def test_a_worker_calls_in() -> None:
    """An async function runs in the run's own thread, a plain one too; results come back to the worker."""

    def work() -> tuple[int, str, bool]:
        total = from_thread.run(add, 1, 2)
        backend = from_thread.run_sync(bridgeio.current_backend)
        return total, backend, from_thread.run_sync(get_ident) != get_ident()

    assert await to_thread.run_sync(work) == (3, bridgeio.current_backend(), True)


@pytest.mark.parametrize("kind", [KeyError, SystemExit, KeyboardInterrupt])
async def test_what_is_raised_where_a_worker_called(kind: type[BaseException]) -> None:
    """What the function raises is raised in the worker, the same object; let out, it is the call's own error."""
    error = kind("in the run")
    seen: list[BaseException] = []

    def refuse() -> None:
        raise error

    def work() -> None:
        try:
            from_thread.run_sync(refuse)
        except BaseException as raised:
            seen.append(raised)
        try:
            from_thread.run(fail, error)
        except BaseException as raised:
            seen.append(raised)
        raise seen[0]

    with pytest.raises(kind) as caught:
        await to_thread.run_sync(work)
    assert [raised is error for raised in (*seen, caught.value)] == [True, True, True]


async def test_a_workers_context_goes_into_the_run() -> None:
    """What the worker has set is seen where it calls; what is set there stays there."""

    async def look() -> str:
        found = _word.get()
        await bridgeio.sleep(0)
        _word.set("the function's")
        return found

    def work() -> tuple[str, str]:
        _word.set("the worker's")
        return from_thread.run(look), _word.get()

    _word.set("the task's")
    assert await to_thread.run_sync(work) == ("the worker's", "the worker's")
    assert _word.get() == "the task's"


async def test_a_worker_calls_into_the_task_that_waits() -> None:
    """The function runs in the task that waits for the thread, so it is in its scopes."""
    waiting = bridgeio.get_current_task()
    assert await to_thread.run_sync(from_thread.run_sync, bridgeio.get_current_task) == waiting
    with bridgeio.fail_after(3600):
        deadline = bridgeio.current_effective_deadline()
        assert await to_thread.run_sync(from_thread.run_sync, bridgeio.current_effective_deadline) == deadline


async def test_workers_call_in_and_out_again() -> None:
    """A function that a worker has called may itself have workers that call in."""

    def deeper(levels: int) -> int:
        return from_thread.run(level, levels - 1) + 1

    async def level(levels: int) -> int:
        return await to_thread.run_sync(deeper, levels) if levels else 0

    assert await level(5) == 5


async def test_many_workers_call_in() -> None:
    """Twenty workers that call in twenty times each lose no call, and mix up none."""

    async def double(number: int) -> int:
        await bridgeio.sleep(0)
        return 2 * number

    def work(number: int) -> int:
        return sum(from_thread.run(double, number) for _ in range(20))

    totals: list[int] = []

    async def offload(number: int) -> None:
        totals.append(await to_thread.run_sync(work, number))

    async with bridgeio.create_task_group() as group:
        for number in range(20):
            group.start_soon(offload, number)
    assert sorted(totals) == [40 * number for number in range(20)]


# Cancelling


@pytest.mark.bridgeio_bug("thread-races")
@pytest.mark.parametrize("abandon", [False, True], ids=["waits", "abandons"])
async def test_a_cancel_reaches_what_a_worker_called(abandon: bool) -> None:
    """A cancel of the task ends what its worker has called; the worker hears of it by the class that means so."""
    cancelled_class = bridgeio.get_cancelled_exc_class()
    heard: list[bool] = []
    started: list[bool] = []

    async def wait() -> None:
        started.append(True)
        await bridgeio.sleep_forever()

    def work() -> None:
        try:
            from_thread.run(wait)
        except BaseException as error:
            heard.append(isinstance(error, cancelled_class))
            raise

    async with unchanged():
        async with bridgeio.create_task_group() as group:

            async def cancel() -> None:
                await until(lambda: started)
                scope.cancel()

            group.start_soon(cancel)
            with bridgeio.CancelScope() as scope:
                await to_thread.run_sync(work, abandon_on_cancel=abandon)
            assert scope.cancelled_caught
        await until(lambda: heard)
    assert heard == [True]


async def test_a_worker_asks_whether_it_is_cancelled() -> None:
    """``check_cancelled`` does nothing until the task is cancelled; then it raises, and let out it ends the scope."""
    cancelled_class = bridgeio.get_cancelled_exc_class()
    before, after = Door(), Door()
    heard: list[BaseException] = []

    def work() -> None:
        from_thread.check_cancelled()
        before.wait()
        after.wait()
        try:
            from_thread.check_cancelled()
        except BaseException as error:
            heard.append(error)
            raise

    async with bridgeio.create_task_group() as group:

        async def cancel() -> None:
            before.open()
            await until(lambda: after.came)
            scope.cancel()
            after.open()

        group.start_soon(cancel)
        with bridgeio.CancelScope() as scope:
            await to_thread.run_sync(work)
    assert scope.cancelled_caught
    assert [isinstance(error, cancelled_class) for error in heard] == [True]


async def test_a_worker_that_goes_on_although_it_is_cancelled() -> None:
    """A worker may ignore what it has heard: then its result comes, and the cancellation at the next wait."""
    door = Door()
    results: list[str] = []

    def work() -> str:
        door.wait()
        try:
            from_thread.check_cancelled()
        except BaseException:
            return "all the same"
        return "not cancelled"

    async with bridgeio.create_task_group() as group:

        async def cancel() -> None:
            await until(lambda: door.came)
            scope.cancel()
            door.open()

        group.start_soon(cancel)
        with bridgeio.CancelScope() as scope:
            results.append(await to_thread.run_sync(work))
            await bridgeio.sleep_forever()
    assert scope.cancelled_caught
    assert results == ["all the same"]


async def test_a_shield_hides_a_cancel_from_the_worker() -> None:
    """Behind a shield the worker is not cancelled, nor is what it calls."""

    def work() -> int:
        from_thread.check_cancelled()
        return from_thread.run(add, 1, 2)

    results: list[int] = []
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        with bridgeio.CancelScope(shield=True):
            results.append(await to_thread.run_sync(work))
    assert results == [3]


@pytest.mark.bridgeio_bug("thread-races")
async def test_an_abandoned_worker_calls_in() -> None:
    """Once it is abandoned nothing async is called for it, and it is told so by the class that means cancelled; a
    plain function is called all the same: it may have something to set."""
    cancelled_class = bridgeio.get_cancelled_exc_class()
    door = Door()
    log: list[object] = []

    async def never_called() -> None:
        log.append("called")

    def work() -> None:
        door.wait()
        for call in (from_thread.check_cancelled, lambda: from_thread.run(never_called)):
            try:
                call()
            except BaseException as error:
                log.append(isinstance(error, cancelled_class))
        from_thread.run_sync(log.append, "set")
        log.append("end")

    with bridgeio.move_on_after(0.01):
        await to_thread.run_sync(work, abandon_on_cancel=True)
    await until(lambda: door.came)
    door.open()
    await until(lambda: log and log[-1] == "end")
    assert log == [True, True, "set", "end"]


@pytest.mark.bridgeio_bug("thread-races")
async def test_cancels_that_meet_a_call_at_its_start_and_end() -> None:
    """A deadline anywhere around a worker's calls: each call of a function has an end, the worker hears of it, and
    nothing is left."""
    limiter = bridgeio.CapacityLimiter(3)
    entered: list[bool] = []
    left: list[bool] = []

    async def step() -> None:
        entered.append(True)
        try:
            await bridgeio.sleep(0)
        finally:
            left.append(True)

    def work() -> None:
        for _ in range(5):
            from_thread.run(step)
            from_thread.check_cancelled()

    async with unchanged():
        for number in range(60):
            with bridgeio.move_on_after(number * 0.00005):
                await to_thread.run_sync(work, abandon_on_cancel=bool(number % 2), limiter=limiter)
        await until(lambda: limiter.borrowed_tokens == 0)
    assert len(entered) == len(left)


# From foreign threads, with a token


async def test_a_foreign_thread_calls_in() -> None:
    """Any thread that has the run's token has it call functions, async and plain ones, in tasks of their own."""
    token = lowlevel.current_token()
    here = bridgeio.get_current_task()

    async def look() -> tuple[str, bool]:
        await bridgeio.sleep(0)
        return bridgeio.current_backend(), bridgeio.get_current_task() != here

    def visit() -> tuple[Any, ...]:
        return (
            from_thread.run(look, token=token),
            from_thread.run_sync(bridgeio.current_backend, token=token),
            from_thread.run_sync(get_ident, token=token) != get_ident(),
        )

    backend = bridgeio.current_backend()
    async with unchanged():
        assert await ForeignThread(visit).joined() == ((backend, True), backend, True)


async def test_what_is_raised_where_a_foreign_thread_called() -> None:
    """What the function raises is raised in the thread, and disturbs nobody in the run."""
    token = lowlevel.current_token()
    error = KeyError("in the run")

    def visit() -> list[bool]:
        seen = []
        for kind in (error, SystemExit("in the run"), KeyboardInterrupt()):
            try:
                from_thread.run(fail, kind, token=token)
            except BaseException as raised:
                seen.append(raised is kind)
        return seen

    assert await ForeignThread(visit).joined() == [True, True, True]
    await bridgeio.sleep(0.001)


async def test_a_foreign_threads_context_goes_into_the_run() -> None:
    """The function sees what the thread has set."""
    token = lowlevel.current_token()

    async def look() -> str:
        return _word.get()

    def visit() -> str:
        _word.set("the thread's")
        return from_thread.run(look, token=token)

    assert await ForeignThread(visit).joined() == "the thread's"


async def test_a_cancelled_task_does_not_disturb_visitors() -> None:
    """What a foreign thread has called is in no scope of any task's."""
    token = lowlevel.current_token()
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        visitor = ForeignThread(lambda: from_thread.run(add, 1, 2, token=token))
        with bridgeio.CancelScope(shield=True):
            assert await visitor.joined() == 3


def test_a_run_cancels_its_visitors_at_its_end(backend: str, backend_options: dict[str, Any]) -> None:
    """When the main function has ended, what foreign threads have called is cancelled, and cleans up; they hear of
    it, and those who come later are told that the run has ended."""
    log: list[str] = []
    tokens: list[lowlevel.EventLoopToken] = []

    async def wait() -> None:
        log.append("waits")
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.002)
            log.append("cleaned up")

    def visit() -> str:
        try:
            from_thread.run(wait, token=tokens[0])
        except Exception:
            return "an Exception"
        except BaseException as error:
            return "cancelled" if isinstance(error, tokens[0].host.cancelled_class) else repr(error)
        return "a result"

    async def main() -> ForeignThread[str]:
        tokens.append(lowlevel.current_token())
        visitor = ForeignThread(visit)
        await until(lambda: log)
        return visitor

    visitor = bridgeio.run(main, backend=backend, backend_options=backend_options)
    assert visitor.join() == "cancelled"
    assert log == ["waits", "cleaned up"]


def test_a_run_that_has_ended_is_called(backend: str, backend_options: dict[str, Any]) -> None:
    """With the token of a run that is over, calls are a RuntimeError that says so."""

    async def main() -> lowlevel.EventLoopToken:
        return lowlevel.current_token()

    token = bridgeio.run(main, backend=backend, backend_options=backend_options)
    if not token.host.is_over:
        pytest.skip("this loop outlives its runs: a hub of gevent's that was there before")
    for call in (lambda: from_thread.run(add, 1, 2, token=token), lambda: from_thread.run_sync(int, token=token)):
        with pytest.raises(RuntimeError, match="has ended"):
            ForeignThread(call).join()


@pytest.mark.bridgeio_bug("thread-races")
def test_no_thread_is_left_waiting_by_a_run_that_ends(backend: str, backend_options: dict[str, Any]) -> None:
    """Threads that call in while the run comes to its end all get an answer: a result, a cancellation, or that the
    run has ended."""
    ends: list[str] = []

    def visit(token: lowlevel.EventLoopToken) -> None:
        while True:
            try:
                assert from_thread.run(add, 1, 2, token=token) == 3
            except RuntimeError as error:
                ends.append(str(error))
                return
            except token.host.cancelled_class:
                ends.append("cancelled")
                return

    async def main() -> list[ForeignThread[None]]:
        visitors = [ForeignThread(visit, lowlevel.current_token()) for _ in range(3)]
        await bridgeio.sleep(0.003)
        return visitors

    for _ in range(10):
        visitors = bridgeio.run(main, backend=backend, backend_options=backend_options)
        for visitor in visitors:
            visitor.join()
    assert len(ends) == 30


# Wrong use


async def test_calling_in_from_the_runs_own_thread() -> None:
    """In the run's own thread a call would wait for itself: an error says what to do instead."""
    token = lowlevel.current_token()
    with pytest.raises(RuntimeError, match="own thread"):
        from_thread.run(add, 1, 2, token=token)
    with pytest.raises(RuntimeError, match="own thread"):
        from_thread.run_sync(int, token=token)
    for call in (lambda: from_thread.run(add, 1, 2), lambda: from_thread.run_sync(int), from_thread.check_cancelled):
        with pytest.raises(bridgeio.NoBackendError, match="thread of a run"):
            call()


async def test_calling_in_without_a_token() -> None:
    """A foreign thread without a token is told what it lacks."""
    for call in (lambda: from_thread.run(add, 1, 2), lambda: from_thread.run_sync(int)):
        with pytest.raises(bridgeio.NoBackendError, match="token"):
            await ForeignThread(call).joined()
    with pytest.raises(bridgeio.NoBackendError, match="did not start"):
        await ForeignThread(from_thread.check_cancelled).joined()


async def test_calling_in_with_the_wrong_kind_of_function() -> None:
    """A plain function given to ``run``, an async one to ``run_sync``, a coroutine, or a wrong token, is a TypeError in
    the thread that calls."""

    def work() -> None:
        with pytest.raises(TypeError, match="is no async function"):
            from_thread.run(abs, -1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="leave out the"):
            from_thread.run(add(1, 2))  # type: ignore[arg-type]
        wrong: Any
        for wrong in (add, 3):
            with pytest.raises(TypeError, match="takes a plain function"):
                from_thread.run_sync(wrong)
        with pytest.raises(TypeError, match="current_token"):
            from_thread.run(add, 1, 2, token="run")  # type: ignore[arg-type]

    await to_thread.run_sync(work)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
