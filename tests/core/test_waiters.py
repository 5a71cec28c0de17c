"""Standing in line, with tasks that a test drives by hand: each step and each cancel comes when the test says."""

from __future__ import annotations

from _thread import get_ident
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import pytest

import bridgeio
from bridgeio.cancellation import Scope, cancel
from bridgeio.contract import BUDGET, CURRENT, Task
from bridgeio.waiters import Line, Waiter
from fake_host import FakeHost, FakeTask


class HandDriven(Task):
    """A task that takes a step when `step` is called, as under a driver that only does as it is told."""

    __slots__ = ("at_work", "ended", "raised")

    def __init__(self, host: FakeHost, name: str) -> None:
        super().__init__(host, name, Scope())
        self.at_work: Coroutine[Any, Any, object] | None = None
        self.ended = False
        self.raised: BaseException | None = None

    @property
    def thread(self) -> int:
        return get_ident() if CURRENT.get() is self else 0

    @coroutine
    def park(self, abort: Callable[[], bool]) -> Generator[Any, Any, None]:
        self.abort = abort
        try:
            yield
        except BaseException:
            self.abort = None
            abort()
            raise
        self.budget = BUDGET
        if self.failing:
            raise self.cancellation()

    def wake(self) -> None:
        self.abort = None

    def interrupt(self) -> bool:
        return False

    @coroutine
    def give_way(self) -> Generator[Any, Any, None]:
        self.budget = BUDGET
        yield

    def start(self, work: Coroutine[Any, Any, object]) -> HandDriven:
        self.at_work = work
        return self.step()

    def step(self) -> HandDriven:
        assert self.at_work is not None
        assert self.abort is None, "nobody has woken it"
        self._drive(lambda: self.at_work.send(None))  # type: ignore[union-attr]
        return self

    def close(self) -> None:
        """What becomes of a coroutine whose loop has ended without it."""
        assert self.at_work is not None
        self._drive(self.at_work.close)

    def call(self, function: Callable[[], object]) -> None:
        """As if the task did this between two waits."""
        self._drive(function)
        raised, self.raised = self.raised, None
        if raised is not None:
            raise raised

    def _drive(self, function: Callable[[], object]) -> None:
        token = CURRENT.set(self)
        try:
            function()
        except StopIteration:
            self.ended = True
        except BaseException as error:
            self.raised = error
        finally:
            CURRENT.reset(token)


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


class Counting(Waiter[None]):
    """Counts how often somebody looks at it, or asks whether it is the one that he looks for."""

    __slots__ = ()
    looks = 0

    def __getattribute__(self, name: str) -> Any:
        Counting.looks += 1
        return super().__getattribute__(name)

    def __hash__(self) -> int:
        Counting.looks += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        Counting.looks += 1
        return self is other


@pytest.mark.parametrize("order", [1, -1])
def test_leaving_a_long_line_is_no_search(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    """1,000 waiters who leave, from the front or from the back, take a few looks each, and not each the whole line."""
    monkeypatch.setattr("bridgeio.waiters.Waiter", Counting)
    line: Line[None] = Line("anything")
    waiters = [line.add(FakeTask(), None) for _ in range(1000)]
    Counting.looks = 0
    assert [waiter() for waiter in waiters[::order]] == [True] * 1000
    assert 0 < Counting.looks < 10_000
    assert len(line) == 0


def test_who_leaves_the_middle_leaves_the_others_in_order() -> None:
    """From wherever one goes, by himself or granted among those who are chosen, the rest stand as they stood."""
    line: Line[int] = Line("anything")
    waiters = [line.add(FakeTask(), number) for number in range(8)]
    assert [waiters[number]() for number in (0, 7, 3)] == [True] * 3
    assert line.grant_those(lambda number: number in {1, 5}) == 2
    late = line.add(FakeTask(), 8)
    assert len(line) == 4
    assert [line.grant() for _ in range(5)] == [waiters[2], waiters[4], waiters[6], late, None]
    assert len(line) == 0
    assert [waiter() for waiter in waiters] == [False] * 8
    last = line.add(FakeTask(), 9)
    assert line.first is last
    assert [line.grant_all(), line.grant_all()] == [1, 0]
    assert last.granted


def test_a_granted_waiter_does_not_leave() -> None:
    """Who was granted refuses the cancel; who was not leaves, once."""
    line: Line[None] = Line("anything")
    granted, waiting = (line.add(FakeTask(), None) for _ in range(2))
    assert line.grant() is granted
    assert (granted.granted, waiting.granted) == (True, False)
    assert (granted(), waiting(), waiting()) == (False, True, False)
    assert line.grant() is None


def test_the_first_goes_to_another_line() -> None:
    """He is the last there, and no cancel takes him out of it any more."""
    line, other = Line[None]("anything"), Line[None]("something else")
    before, first, second = other.add(FakeTask(), None), line.add(FakeTask(), None), line.add(FakeTask(), None)
    assert line.send_first(other)
    assert (first.line, first(), len(line), len(other)) == (other, False, 1, 2)
    assert [other.grant(), other.grant(), line.grant()] == [before, first, second]
    assert not line.send_first(other)


def test_a_line_says_what_it_is_for() -> None:
    """With who holds it, for those who look at a task that hangs."""
    line: Line[None] = Line("a thing")
    assert line.what == "a thing"
    line.holder = FakeTask()
    assert line.what == "a thing held by fake"


MADE: dict[str, Callable[[], Any]] = {
    "Lock": bridgeio.Lock,
    "Semaphore": lambda: bridgeio.Semaphore(1),
    "CapacityLimiter": lambda: bridgeio.CapacityLimiter(1),
}


@pytest.mark.parametrize("kind", MADE)
def test_closed_between_the_grant_and_the_next_step(host: FakeHost, kind: str) -> None:
    """A coroutine that its driver closes after it was let in, and before it went on, lets the next one in."""
    thing = MADE[kind]()
    first, second, third = (HandDriven(host, name) for name in ("first", "second", "third"))
    first.start(thing.acquire())
    assert first.ended
    second.start(thing.acquire())
    third.start(thing.acquire())
    first.call(thing.release)
    second.close()
    third.step()
    assert third.ended
    third.call(thing.release)
    third.call(thing.acquire_nowait)


@pytest.mark.parametrize("kind", MADE)
def test_closed_while_it_gives_way(host: FakeHost, kind: str) -> None:
    """A coroutine that is closed while it gives way after it got in has not got in."""
    thing = MADE[kind]()
    first, second = HandDriven(host, "first"), HandDriven(host, "second")
    first.budget = 1
    first.start(thing.acquire())
    assert not first.ended
    first.close()
    second.call(thing.acquire_nowait)


@pytest.mark.parametrize("kind", MADE)
def test_closed_while_it_waits(host: FakeHost, kind: str) -> None:
    """A coroutine that is closed while it waits has left the line."""
    thing = MADE[kind]()
    first, second = HandDriven(host, "first"), HandDriven(host, "second")
    first.call(thing.acquire_nowait)
    second.start(thing.acquire())
    second.close()
    first.call(thing.release)
    first.call(thing.acquire_nowait)


def waiting_for(condition: bridgeio.Condition, host: FakeHost, name: str) -> HandDriven:
    task = HandDriven(host, name)
    task.call(condition.acquire_nowait)
    return task.start(condition.wait())


def test_a_notified_task_that_is_closed(host: FakeHost) -> None:
    """Its notification goes to the next who waits, and it takes no lock to its grave."""
    condition = bridgeio.Condition()
    first, second = (waiting_for(condition, host, name) for name in ("first", "second"))
    other = HandDriven(host, "other")
    other.call(condition.acquire_nowait)
    other.call(condition.notify)
    first.close()
    other.call(condition.release)
    assert second.step().ended
    second.call(condition.release)
    assert not condition.locked()


@pytest.mark.parametrize("cancelled", [False, True])
def test_closed_while_it_waits_for_the_lock_again(host: FakeHost, cancelled: bool) -> None:
    """A task whose ``Condition.wait`` is over, and that is closed before it has the lock, leaves the line."""
    condition = bridgeio.Condition()
    first, other = waiting_for(condition, host, "first"), HandDriven(host, "other")
    other.call(condition.acquire_nowait)
    if cancelled:
        cancel(first.scope)
        first.step()
    else:
        other.call(condition.notify)
    assert condition.statistics().lock_statistics.tasks_waiting == 1
    first.close()
    assert condition.statistics().lock_statistics.tasks_waiting == 0
    other.call(condition.release)
    assert not condition.locked()


def test_a_cancel_does_not_end_the_second_wait(host: FakeHost) -> None:
    """While the task waits for the lock again, a cancel wakes nobody, and is there at the next wait."""
    condition = bridgeio.Condition()
    first, other = waiting_for(condition, host, "first"), HandDriven(host, "other")
    other.call(condition.acquire_nowait)
    other.call(condition.notify)
    cancel(first.scope)
    assert first.abort is not None
    other.call(condition.release)
    assert first.step().ended
    with pytest.raises(host.cancelled_class):
        first.call(lambda: condition.wait().send(None))
    first.call(condition.release)


def test_what_only_callbacks_release(host: FakeHost) -> None:
    """A semaphore may be released, and a limiter enlarged, where no task is: in callbacks of the run."""
    semaphore, limiter = bridgeio.Semaphore(0), bridgeio.CapacityLimiter(0)
    first, second = HandDriven(host, "first"), HandDriven(host, "second")
    first.start(semaphore.acquire())
    second.start(limiter.acquire_on_behalf_of("x"))
    semaphore.release()
    limiter.total_tokens = 1
    assert first.step().ended
    assert second.step().ended
    limiter.release_on_behalf_of("x")
    assert limiter.borrowed_tokens == 0


def test_where_no_task_is() -> None:
    """What needs a task says so outside of any, and what is made there is whole."""
    lock = bridgeio.Lock()
    for call in (lock.acquire_nowait, lock.release, bridgeio.CapacityLimiter(1).acquire_nowait):
        with pytest.raises(bridgeio.NoBackendError):
            call()
    assert not lock.locked()
    semaphore = bridgeio.Semaphore(1)
    semaphore.acquire_nowait()
    semaphore.release()
    assert semaphore.value == 1


def test_a_line_of_two_runs(host: FakeHost) -> None:
    """Who meets a waiter, or a holder, of another run is told its name and what to do."""
    line: Line[None] = Line("a thing")
    task = HandDriven(host, "the one who is here")
    line.add(task, None)
    line.check_run(HandDriven(host, "a friend"))
    stranger = HandDriven(FakeHost(), "a stranger")
    with pytest.raises(bridgeio.SharedBetweenRunsError, match=r"here, a task of .* waits for a thing.*Make one"):
        line.add(stranger, None)
    with pytest.raises(bridgeio.SharedBetweenRunsError):
        stranger.call(line.check_caller)
    assert line.grant() is not None
    line.holder = task
    with pytest.raises(bridgeio.SharedBetweenRunsError, match=r"the one who is here, .* holds a thing"):
        line.check_run(stranger)
