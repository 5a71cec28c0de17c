"""Chapter: synchronising. What all locks have in common: the order, the hand-over, the cancel, the run.

The tests run on each thing that lets one task in at a time. What is peculiar to each is in `locking`
and `limiting`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.observing import StepCounter, observed
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

# Any: they share their methods' names, and no class.
KINDS: dict[str, Callable[[], Any]] = {
    "Lock": bridgeio.Lock,
    "Condition": bridgeio.Condition,
    "Semaphore": lambda: bridgeio.Semaphore(1, max_value=1),
    "CapacityLimiter": lambda: bridgeio.CapacityLimiter(1),
}
each = pytest.mark.parametrize("kind", KINDS)


class User:
    """A task that gets in, waits once more, and leaves; and what has become of it.

    :ivar scope: around all that it does.
    :ivar seen: what it has done.
    """

    def __init__(self) -> None:
        self.scope = bridgeio.CancelScope()
        self.seen: list[str] = []

    async def use(self, thing: Any) -> None:
        with self.scope:
            async with thing:
                self.seen.append("got in")
                await bridgeio.lowlevel.checkpoint()
                self.seen.append("went on")


def waiting(thing: Any) -> int:
    """How many tasks wait to get in."""
    statistics = thing.statistics()
    if isinstance(statistics, bridgeio.ConditionStatistics):
        statistics = statistics.lock_statistics
    return int(statistics.tasks_waiting)


def is_free(thing: Any) -> bool:
    """Whether the calling task gets in at once; it is out again after that."""
    try:
        thing.acquire_nowait()
    except bridgeio.WouldBlock:
        return False
    thing.release()
    return waiting(thing) == 0


async def in_line(group: bridgeio.TaskGroup, thing: Any, number: int) -> list[User]:
    """Users who wait, in the order of this list: a group need not start its tasks in order."""
    users = [User() for _ in range(number)]
    for user in users:
        before = waiting(thing)
        group.start_soon(user.use, thing)
        await until(lambda before=before: waiting(thing) > before)  # type: ignore[misc]
    return users


@each
async def test_one_at_a_time(kind: str) -> None:
    """However tasks come and go, never two are in at once, and all get in."""
    thing = KINDS[kind]()
    inside, most, times = 0, 0, 0

    async def use() -> None:
        nonlocal inside, most, times
        for _ in range(5):
            async with thing:
                inside += 1
                most = max(most, inside)
                times += 1
                await bridgeio.sleep(0)
                inside -= 1

    async with bridgeio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(use)
    assert (most, times) == (1, 50)
    assert is_free(thing)


@each
async def test_first_come_first_served(kind: str) -> None:
    """Tasks get in in the order in which they came; who is cancelled meanwhile leaves the others' order as it is."""
    thing, order = KINDS[kind](), []
    scopes = [bridgeio.CancelScope() for _ in range(12)]

    async def use(number: int) -> None:
        with scopes[number]:
            async with thing:
                order.append(number)

    async with bridgeio.create_task_group() as group:
        await thing.acquire()
        for number in range(12):
            group.start_soon(use, number)
            await until(lambda number=number: waiting(thing) == number + 1)  # type: ignore[misc]
        for number in (0, 5, 6, 11):
            scopes[number].cancel()
        thing.release()
    assert order == [1, 2, 3, 4, 7, 8, 9, 10]
    assert is_free(thing)


@each
async def test_nobody_is_overtaken(kind: str) -> None:
    """Who releases and at once acquires again waits behind those who waited: it never gets in between."""
    thing, order = KINDS[kind](), []

    async def insist(name: str) -> None:
        for _ in range(5):
            async with thing:
                order.append(name)

    async with bridgeio.create_task_group() as group:
        await thing.acquire()
        for number, name in enumerate("abc"):
            group.start_soon(insist, name)
            await until(lambda number=number: waiting(thing) == number + 1)  # type: ignore[misc]
        thing.release()
    assert "".join(order) == "abc" * 5


@each
async def test_what_is_handed_over_is_not_free(kind: str) -> None:
    """Between a release and the moment when the first who waits goes on, nobody else gets in."""
    thing = KINDS[kind]()
    async with bridgeio.create_task_group() as group:
        await thing.acquire()
        (user,) = await in_line(group, thing, 1)
        thing.release()
        with pytest.raises(bridgeio.WouldBlock):
            thing.acquire_nowait()
        assert user.seen == []
        await thing.acquire()
        assert user.seen == ["got in", "went on"]
        thing.release()


@each
async def test_without_waiting(kind: str) -> None:
    """``acquire_nowait`` gets in or raises `WouldBlock`, and in that case has taken nothing."""
    thing = KINDS[kind]()
    refused: list[str] = []

    async def try_it() -> None:
        with pytest.raises(bridgeio.WouldBlock):
            thing.acquire_nowait()
        refused.append("once")

    thing.acquire_nowait()
    async with bridgeio.create_task_group() as group:
        group.start_soon(try_it)
    thing.release()
    assert refused == ["once"]
    assert is_free(thing)


@each
@pytest.mark.bridgeio_promise(1)
async def test_a_cancelled_task_does_not_get_in(kind: str) -> None:
    """In a cancelled scope ``acquire`` raises, though it need not wait, each time, and has taken nothing."""
    thing = KINDS[kind]()
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        for _ in range(2):
            with pytest.raises(bridgeio.get_cancelled_exc_class()):
                await thing.acquire()
        await bridgeio.sleep(0)
    assert scope.cancelled_caught
    assert is_free(thing)


@each
@pytest.mark.parametrize("turns", range(6))
@pytest.mark.bridgeio_promise(2)
@pytest.mark.bridgeio_bug("lost-grant")
async def test_a_release_and_then_a_cancel(kind: str, turns: int) -> None:
    """A task that is cancelled after it was let in is in, its next wait is cancelled, and the next gets in."""
    thing = KINDS[kind]()
    async with bridgeio.create_task_group() as group:
        await thing.acquire()
        first, second = await in_line(group, thing, 2)
        thing.release()
        for _ in range(turns):
            await bridgeio.sleep(0)
        first.scope.cancel()
    if turns == 0:
        assert first.seen == ["got in"]
        assert first.scope.cancelled_caught
    assert first.seen[:1] == ["got in"]
    assert first.scope.cancelled_caught == (first.seen == ["got in"])
    assert second.seen == ["got in", "went on"]
    assert is_free(thing)


@each
@pytest.mark.parametrize("turns", range(6))
@pytest.mark.bridgeio_bug("lost-grant")
async def test_a_cancel_and_then_a_release(kind: str, turns: int) -> None:
    """A task that is cancelled before it is let in never is, and does not keep the next one out.

    So too while it has not gone on yet, and is in the line no more (#387, #1145).
    """
    thing = KINDS[kind]()
    async with bridgeio.create_task_group() as group:
        await thing.acquire()
        first, second = await in_line(group, thing, 2)
        first.scope.cancel()
        assert waiting(thing) == 1
        for _ in range(turns):
            await bridgeio.sleep(0)
        thing.release()
    assert first.seen == []
    assert first.scope.cancelled_caught
    assert second.seen == ["got in", "went on"]
    assert is_free(thing)


@each
@pytest.mark.bridgeio_bug("lost-grant")
async def test_all_who_wait_are_let_in_and_cancelled(kind: str) -> None:
    """A cancel of everybody, at the moment of a release: whoever got in leaves, and it is free (#947)."""
    thing = KINDS[kind]()
    for turns in range(4):
        async with bridgeio.create_task_group() as group:
            await thing.acquire()
            await in_line(group, thing, 3)
            thing.release()
            for _ in range(turns):
                await bridgeio.sleep(0)
            group.cancel_scope.cancel()
        assert is_free(thing)


@each
async def test_a_thousand_leave_at_once(kind: str) -> None:
    """1,000 tasks that wait are cancelled at once: all leave, one was let in, and it is free. Each is woken once:
    it is not handed round among those who leave."""
    thing, counter = KINDS[kind](), StepCounter()
    users = [User() for _ in range(1000)]
    with ExitStack() as stack:
        async with bridgeio.create_task_group() as group:
            await thing.acquire()
            for user in users:
                group.start_soon(user.use, thing)
            await until(lambda: waiting(thing) == 1000)
            stack.enter_context(observed(counter))
            thing.release()
            group.cancel_scope.cancel()
            assert waiting(thing) == 0
    assert counter.steps < 2 * len(users)
    assert [user.seen for user in users if user.seen] == [["got in"]]
    assert is_free(thing)


@each
def test_in_one_run_after_another(kind: str, backend: str, backend_options: dict[str, Any]) -> None:
    """Made outside any run, it serves one, with tasks that wait, and then the next."""
    thing = KINDS[kind]()
    seen: list[list[str]] = []

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            await thing.acquire()
            users = await in_line(group, thing, 2)
            thing.release()
        seen.extend(user.seen for user in users)

    for _ in range(2):
        bridgeio.run(main, backend=backend, backend_options=backend_options)
    assert seen == [["got in", "went on"]] * 4


@each
async def test_what_another_run_waits_for(kind: str) -> None:
    """While tasks of one run wait, a task of another is told so, and may use it once they are gone."""
    thing = KINDS[kind]()

    async def use() -> None:
        with pytest.raises(bridgeio.SharedBetweenRunsError, match=f"(?=.*another run).*a {_held(kind)}"):
            await thing.acquire()

    async with bridgeio.create_task_group() as group:
        await thing.acquire()
        (user,) = await in_line(group, thing, 1)
        await _in_another_run(use)
        assert user.seen == []
        thing.release()
    await _in_another_run(User().use, thing)
    assert is_free(thing)


@pytest.mark.parametrize("kind", ["Lock", "Condition", "CapacityLimiter"])
def test_what_a_run_has_ended_with(kind: str, backend: str, backend_options: dict[str, Any]) -> None:
    """What a run has ended with is nobody's any more, and nobody can say in which state: a later run is told
    so, and does not wait for ever."""
    thing = KINDS[kind]()

    async def main() -> None:
        for operation in (thing.acquire, _nowait(thing)):
            with pytest.raises(bridgeio.SharedBetweenRunsError, match=r"main.*another run.*Make one for each run"):
                await operation()

    bridgeio.run(thing.acquire, backend=backend, backend_options=backend_options)
    bridgeio.run(main, backend=backend, backend_options=backend_options)


async def test_a_release_in_another_run() -> None:
    """A release that would let in a task of another run is refused, and changes nothing: nobody could wake it."""
    semaphore, event = bridgeio.Semaphore(0), bridgeio.Event()

    async def release() -> None:
        for operation in (semaphore.release, event.set):
            with pytest.raises(bridgeio.SharedBetweenRunsError):
                operation()

    async with bridgeio.create_task_group() as group:
        group.start_soon(semaphore.acquire)
        group.start_soon(event.wait)
        await until(lambda: semaphore.statistics().tasks_waiting and event.statistics().tasks_waiting)
        await _in_another_run(release)
        assert (semaphore.value, event.is_set()) == (0, False)
        semaphore.release()
        event.set()


def _nowait(thing: Any) -> Callable[[], Any]:
    async def acquire() -> None:
        thing.acquire_nowait()

    return acquire


def _held(kind: str) -> str:
    """What the error of a kind speaks of: a condition is entered by its lock."""
    return "Lock" if kind == "Condition" else kind


async def _in_another_run(function: Any, *args: Any) -> None:
    """Runs it on threads, beside the run that asks, and waits until that is over."""
    outcome: list[BaseException | None] = []

    def run() -> None:
        try:
            bridgeio.run(function, *args, backend="threads")
        except BaseException as error:
            outcome.append(error)
        else:
            outcome.append(None)

    original("_thread", "start_new_thread")(run, ())
    await until(lambda: outcome)
    if outcome[0] is not None:
        raise outcome[0]


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
