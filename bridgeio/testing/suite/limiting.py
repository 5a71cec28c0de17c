"""Chapter: limiting. How many at once: semaphores, capacity limiters, barriers, guards."""

from __future__ import annotations

import math
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio


# Semaphores


async def test_a_semaphore_counts() -> None:
    """Its value goes down with each acquire and up with each release; at zero ``acquire_nowait`` refuses."""
    semaphore = bridgeio.Semaphore(2, max_value=3)
    assert (semaphore.value, semaphore.max_value) == (2, 3)
    async with semaphore as entered:
        assert entered is semaphore
        semaphore.acquire_nowait()
        assert semaphore.value == 0
        with pytest.raises(bridgeio.WouldBlock):
            semaphore.acquire_nowait()
        semaphore.release()
    assert semaphore.value == 2


async def test_a_semaphore_released_too_often() -> None:
    """A release beyond ``max_value`` is a ValueError and changes nothing; without one there is no bound."""
    bounded = bridgeio.Semaphore(0, max_value=1)
    bounded.release()
    with pytest.raises(ValueError, match="max_value, 1"):
        bounded.release()
    assert bounded.value == 1
    unbounded = bridgeio.Semaphore(0)
    for _ in range(10):
        unbounded.release()
    assert (unbounded.value, unbounded.max_value) == (10, None)


async def test_releases_of_a_semaphore_wake_as_many() -> None:
    """Each release lets one in, in order, whoever makes it; the value stays zero as long as somebody waits."""
    semaphore, order = bridgeio.Semaphore(0), list[int]()

    async def use(number: int) -> None:
        await semaphore.acquire()
        order.append(number)

    async with bridgeio.create_task_group() as group:
        for number in range(5):
            group.start_soon(use, number)
            await until(lambda number=number: semaphore.statistics().tasks_waiting == number + 1)  # type: ignore[misc]
        for _ in range(2):
            semaphore.release()
        await until(lambda: len(order) == 2)
        assert (semaphore.value, semaphore.statistics().tasks_waiting) == (0, 3)
        for _ in range(5):
            semaphore.release()
        assert (semaphore.value, semaphore.statistics().tasks_waiting) == (2, 0)
    assert sorted(order[:2]) == [0, 1]  # let in at once, they go on in any order
    assert sorted(order) == [0, 1, 2, 3, 4]


async def test_no_more_in_a_semaphore_than_its_value() -> None:
    """Of 20 tasks never more than three are in, and at times three are."""
    semaphore, inside, most = bridgeio.Semaphore(3), 0, 0

    async def use() -> None:
        nonlocal inside, most
        async with semaphore:
            inside += 1
            most = max(most, inside)
            await bridgeio.sleep(0.001)
            inside -= 1

    async with bridgeio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(use)
    assert (most, semaphore.value) == (3, 3)


@pytest.mark.parametrize(
    ("initial", "maximum", "kind"),
    [(-1, None, ValueError), (2, 1, ValueError), (1.5, None, TypeError), (1, 1.5, TypeError), (None, None, TypeError)],
)
async def test_what_is_no_semaphore(initial: Any, maximum: Any, kind: type[Exception]) -> None:
    """Values that make no sense are refused when the semaphore is made."""
    with pytest.raises(kind, match="_value must be"):
        bridgeio.Semaphore(initial, max_value=maximum)


# Capacity limiters


async def test_a_limiter_knows_its_borrowers() -> None:
    """Tokens are borrowed by the task, or on behalf of anything hashable; ``statistics`` names them all."""
    limiter = bridgeio.CapacityLimiter(3)
    async with limiter:
        await limiter.acquire_on_behalf_of("somebody")
        limiter.acquire_on_behalf_of_nowait(("a", "pair"))
        statistics = limiter.statistics()
        assert statistics.borrowers == (bridgeio.get_current_task(), "somebody", ("a", "pair"))
        assert (statistics.borrowed_tokens, statistics.total_tokens, statistics.tasks_waiting) == (3, 3, 0)
        with pytest.raises(bridgeio.WouldBlock):
            limiter.acquire_on_behalf_of_nowait("one more")
        limiter.release_on_behalf_of(("a", "pair"))
        limiter.release_on_behalf_of("somebody")
    assert (limiter.borrowed_tokens, limiter.available_tokens, limiter.total_tokens) == (0, 3, 3)


async def test_one_token_for_each_borrower() -> None:
    """Who has a token, or is waiting for one, gets no second one; who has none gives none back."""
    limiter = bridgeio.CapacityLimiter(2)
    name = bridgeio.get_current_task().name
    async with limiter:
        with pytest.raises(RuntimeError, match=f"{name} holds one of this CapacityLimiter's tokens already"):
            await limiter.acquire()
        await limiter.acquire_on_behalf_of("x")
        with pytest.raises(RuntimeError, match="'x' holds one"):
            limiter.acquire_on_behalf_of_nowait("x")
        async with bridgeio.create_task_group() as group:
            group.start_soon(limiter.acquire_on_behalf_of, "y")
            await until(lambda: limiter.statistics().tasks_waiting)
            with pytest.raises(RuntimeError, match=r"waiting for one .* for 'y'"):
                await limiter.acquire_on_behalf_of("y")
            with pytest.raises(RuntimeError, match="'y' holds none"):
                limiter.release_on_behalf_of("y")
            limiter.release_on_behalf_of("x")
        limiter.release_on_behalf_of("y")
    with pytest.raises(RuntimeError, match=f"{name} holds none of this CapacityLimiter's tokens"):
        limiter.release()


@pytest.mark.bridgeio_bug("lost-grant")
async def test_a_cancelled_borrower_leaves_the_others_their_tokens() -> None:
    """A cancel of a task that waits on behalf of somebody releases nobody's token, its own least of all, and
    that somebody may borrow after it."""
    limiter = bridgeio.CapacityLimiter(2)
    scope = bridgeio.CancelScope()
    took: list[str] = []

    async def wait() -> None:
        await limiter.acquire()
        try:
            with scope:
                await limiter.acquire_on_behalf_of("x")
            took.append("still mine" if bridgeio.get_current_task() in limiter.statistics().borrowers else "lost")
        finally:
            limiter.release()

    async with bridgeio.create_task_group() as group:
        await limiter.acquire()
        group.start_soon(wait)
        await until(lambda: limiter.statistics().tasks_waiting)
        scope.cancel()
        await until(lambda: took)
        assert limiter.statistics().borrowers == (bridgeio.get_current_task(),)
        limiter.acquire_on_behalf_of_nowait("x")
        limiter.release_on_behalf_of("x")
        limiter.release()
    assert took == ["still mine"]
    assert limiter.borrowed_tokens == 0


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.bridgeio_bug("lost-grant")
async def test_a_token_lent_and_then_a_cancel(turns: int) -> None:
    """Lent on behalf of somebody just before a cancel: it is lent, and returned by who asked for it."""
    limiter = bridgeio.CapacityLimiter(1)
    scope, took = bridgeio.CancelScope(), list[str]()

    async def use(borrower: str, around: bridgeio.CancelScope) -> None:
        with around:
            await limiter.acquire_on_behalf_of(borrower)
            try:
                took.append(borrower)
                await bridgeio.lowlevel.checkpoint()
            finally:
                limiter.release_on_behalf_of(borrower)

    async with bridgeio.create_task_group() as group:
        await limiter.acquire()
        group.start_soon(use, "x", scope)
        await until(lambda: limiter.statistics().tasks_waiting == 1)
        group.start_soon(use, "y", bridgeio.CancelScope())
        await until(lambda: limiter.statistics().tasks_waiting == 2)
        limiter.release()
        assert limiter.statistics().borrowers == ("x",)
        for _ in range(turns):
            await bridgeio.sleep(0)
        scope.cancel()
    assert took == ["x", "y"]
    assert limiter.statistics() == bridgeio.CapacityLimiterStatistics(0, 1, (), 0)


async def test_a_limiter_that_grows_and_shrinks() -> None:
    """More tokens are lent at once, to as many as there are, in order; fewer take nobody's away."""
    limiter = bridgeio.CapacityLimiter(0)
    async with bridgeio.create_task_group() as group:
        for number in range(5):
            group.start_soon(limiter.acquire_on_behalf_of, number)
            await until(lambda number=number: limiter.statistics().tasks_waiting == number + 1)  # type: ignore[misc]
        limiter.total_tokens = 2
        assert limiter.statistics() == bridgeio.CapacityLimiterStatistics(2, 2, (0, 1), 3)
        limiter.total_tokens = 1
        assert (limiter.borrowed_tokens, limiter.available_tokens) == (2, -1)
        limiter.release_on_behalf_of(0)
        assert limiter.statistics().tasks_waiting == 3
        limiter.release_on_behalf_of(1)
        assert limiter.statistics().borrowers == (2,)
        limiter.total_tokens = math.inf
        assert limiter.statistics().tasks_waiting == 0
    assert limiter.statistics().borrowers == (2, 3, 4)
    assert limiter.available_tokens == math.inf


@pytest.mark.parametrize(
    ("tokens", "kind"), [(1.5, TypeError), ("1", TypeError), (math.nan, TypeError), (-1, ValueError)]
)
async def test_what_is_no_number_of_tokens(tokens: Any, kind: type[Exception]) -> None:
    """It is refused where it is given, and what was before stays."""
    with pytest.raises(kind):
        bridgeio.CapacityLimiter(tokens)
    limiter = bridgeio.CapacityLimiter(1)
    with pytest.raises(kind):
        limiter.total_tokens = tokens
    assert limiter.total_tokens == 1


# Barriers


class Party:
    """A task that comes to a barrier, and what it got there."""

    def __init__(self) -> None:
        self.scope = bridgeio.CancelScope()
        self.got: list[object] = []

    async def come(self, barrier: bridgeio.Barrier) -> None:
        with self.scope:
            try:
                self.got.append(await barrier.wait())
            except bridgeio.BrokenBarrierError as error:
                self.got.append(type(error))


async def at_barrier(group: bridgeio.TaskGroup, barrier: bridgeio.Barrier, number: int) -> list[Party]:
    """Tasks that wait there, in the order of this list."""
    parties = [Party() for _ in range(number)]
    for position, party in enumerate(parties):
        group.start_soon(party.come, barrier)
        await until(lambda position=position: barrier.n_waiting == position + 1)  # type: ignore[misc]
    return parties


async def test_nobody_passes_a_barrier_alone() -> None:
    """All wait until the last has come; each gets a number of its own, in the order in which they came."""
    barrier = bridgeio.Barrier(3)
    for _ in range(2):
        async with bridgeio.create_task_group() as group:
            parties = await at_barrier(group, barrier, 2)
            assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 2, False)
            assert barrier.statistics() == bridgeio.BarrierStatistics(tasks_waiting=2)
            assert await barrier.wait() == 2
            assert barrier.n_waiting == 0
        assert [party.got for party in parties] == [[0], [1]]


async def test_a_barrier_around_a_block() -> None:
    """``async with`` waits before the block and gives the number; a barrier for one lets everybody in."""
    async with bridgeio.Barrier(1) as index:
        assert index == 0


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancelled_party_leaves(turns: int) -> None:
    """The others go on waiting, for one more; the numbers are still all different."""
    barrier = bridgeio.Barrier(3)
    async with bridgeio.create_task_group() as group:
        first, second = await at_barrier(group, barrier, 2)
        first.scope.cancel()
        assert barrier.n_waiting == 1
        for _ in range(turns):
            await bridgeio.sleep(0)
        third = Party()
        group.start_soon(third.come, barrier)
        await until(lambda: barrier.n_waiting == 2)
        assert await barrier.wait() == 2
    assert (first.got, second.got, third.got) == ([], [0], [1])
    assert first.scope.cancelled_caught


async def test_a_party_cancelled_when_all_have_come() -> None:
    """It has passed, and its next wait is cancelled: a barrier never opens for only some."""
    barrier = bridgeio.Barrier(2)
    async with bridgeio.create_task_group() as group:
        (party,) = await at_barrier(group, barrier, 1)
        assert await barrier.wait() == 1
        party.scope.cancel()
    assert party.got == [0]


async def test_a_broken_barrier() -> None:
    """``abort`` sends away who waits and who comes, until ``reset``; ``reset`` sends away who waits."""
    barrier = bridgeio.Barrier(3)
    async with bridgeio.create_task_group() as group:
        parties = await at_barrier(group, barrier, 2)
        await barrier.abort()
        assert (barrier.broken, barrier.n_waiting) == (True, 0)
        with pytest.raises(bridgeio.BrokenBarrierError, match="reset"):
            await barrier.wait()
        await barrier.reset()
        assert not barrier.broken
        parties += await at_barrier(group, barrier, 2)
        await barrier.reset()
        assert (barrier.broken, barrier.n_waiting) == (False, 0)
    assert [party.got for party in parties] == [[bridgeio.BrokenBarrierError]] * 4


@pytest.mark.parametrize("name", ["abort", "reset"])
async def test_a_barrier_given_up_in_a_cancelled_scope(name: str) -> None:
    """``abort`` and ``reset`` belong to cleaning up: they are done, and then the cancellation is raised."""
    barrier = bridgeio.Barrier(2)
    async with bridgeio.create_task_group() as group:
        (party,) = await at_barrier(group, barrier, 1)
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await getattr(barrier, name)()
        assert scope.cancelled_caught
    assert party.got == [bridgeio.BrokenBarrierError]
    assert barrier.broken == (name == "abort")


async def test_a_cancelled_task_does_not_come() -> None:
    """In a cancelled scope ``wait`` raises, also as the last who was lacking, and the others wait on."""
    barrier = bridgeio.Barrier(2)
    async with bridgeio.create_task_group() as group:
        (party,) = await at_barrier(group, barrier, 1)
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await barrier.wait()
        assert scope.cancelled_caught
        assert (barrier.n_waiting, party.got) == (1, [])
        group.cancel_scope.cancel()


@pytest.mark.parametrize(("parties", "kind"), [(0, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError)])
async def test_what_is_no_number_of_parties(parties: Any, kind: type[Exception]) -> None:
    """Less than one party is a ValueError, and what counts nobody a TypeError."""
    with pytest.raises(kind, match="parties must be "):
        bridgeio.Barrier(parties)


def test_a_barrier_in_one_run_after_another(backend: str, backend_options: dict[str, Any]) -> None:
    """A barrier at which tasks of one run met serves the next run."""
    barrier = bridgeio.Barrier(3)
    got: list[object] = []

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            parties = await at_barrier(group, barrier, 2)
            await barrier.wait()
        got.extend(party.got for party in parties)

    for _ in range(2):
        bridgeio.run(main, backend=backend, backend_options=backend_options)
    assert got == [[0], [1]] * 2


# Guards


async def test_a_guard_lets_one_in() -> None:
    """A second user gets BusyError, which names the action; the first is not disturbed, and then it is free."""
    guard = bridgeio.ResourceGuard("reading from")
    refused: list[str] = []

    async def second() -> None:
        with pytest.raises(bridgeio.BusyError, match="another task is already reading from this resource"), guard:
            refused.append("never")
        refused.append("once")

    with guard:
        async with bridgeio.create_task_group() as group:
            group.start_soon(second)
        with pytest.raises(bridgeio.BusyError), guard:
            refused.append("never")
    with pytest.raises(KeyError), guard:
        raise KeyError
    with guard:
        assert refused == ["once"]


async def test_a_guard_without_a_word() -> None:
    """By default the action is "using"."""
    guard = bridgeio.ResourceGuard()
    with guard, pytest.raises(bridgeio.BusyError, match="already using this"), guard:
        pass
    assert guard.action == "using"


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
