"""The baton: code between two waits is atomic, and everybody has a turn."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

import bridgeio
from bridgeio import blocking
from bridgeio.registry import current_task
from bridgeio.testing.resources import open_descriptors
from bridgeio_threads.baton import Baton
from bridgeio_threads.gate import Gate
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.lookout import Lookout
from bridgeio_threads.parking import Parking
from bridgeio_threads.task import ThreadTask
from echoing import echo_round
from on_threads import host, run


@pytest.fixture
def impatient() -> Iterator[None]:
    """The interpreter changes threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def fail(error: BaseException) -> None:
    raise AssertionError("nothing is called in this test") from error


@pytest.mark.usefixtures("impatient")
def test_code_between_two_waits_is_atomic() -> None:
    """Tasks that read, compute and store between their awaits lose no update."""
    counter = 0

    async def count() -> None:
        nonlocal counter
        for _ in range(300):
            before = counter
            sum(range(50))
            counter = before + 1
            await bridgeio.sleep(0)

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(count)

    run(main)
    assert counter == 8 * 300


def test_the_baton_goes_round() -> None:
    """Tasks that give way have their turns in the order in which they were started, again and again."""
    turns: list[int] = []

    async def take_turns(number: int) -> None:
        for _ in range(20):
            turns.append(number)
            await bridgeio.lowlevel.checkpoint()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for number in range(5):
                group.start_soon(take_turns, number)

    run(main)
    assert turns == list(range(5)) * 20


def test_the_baton_is_handed_over_in_the_order_of_asking() -> None:
    """Plain threads that queue get it first come, first served, and whoever drops it last in line."""
    baton, order = Baton(fail), list[int]()

    def take(number: int) -> None:
        baton.take(Gate())
        order.append(number)
        baton.drop()

    mine = Gate()
    baton.take(mine)
    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        while len(baton.queue) == number:
            os.sched_yield()
    baton.give_way(mine)
    assert order == [0, 1, 2, 3, 4]
    baton.drop()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("ends", [1, 2])
def test_a_gate_is_one_descriptor_where_that_can_be_had(ends: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is the two ends of a pipe. Either way it may be opened before its owner waits, and closes them all."""
    if ends == 2:
        monkeypatch.setattr("os.open", no_such_file)
    before = open_descriptors()
    gate = Gate()
    assert len(open_descriptors()) - len(before) == ends
    gate.open()
    gate.wait()
    assert not gate.wait_for(0)
    opener = threading.Timer(0.01, gate.open)
    opener.start()
    gate.wait()
    opener.join()
    del opener  # it knows the gate
    gate.close()
    assert open_descriptors() == before


def no_such_file(*args: object) -> int:
    raise FileNotFoundError("there is no /proc here")


@pytest.mark.parametrize("when", ["before the byte is there", "when the byte was taken"])
def test_a_signal_handler_that_raises_at_a_gate_leaves_no_byte_behind(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The byte of this hand-over is waited for and taken, neither more nor less: another would be a baton too many."""
    gate, readv, raised = Gate(), os.readv, list[str]()

    def interrupted(reader: int, buffers: list[bytearray]) -> int:
        if not raised:
            raised.append(when)
            if when == "before the byte is there":
                threading.Timer(0.01, gate.open).start()
            else:
                gate.open()
                readv(reader, buffers)
            raise KeyboardInterrupt
        return readv(reader, buffers)

    monkeypatch.setattr("os.readv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gate.wait()
    assert not gate.wait_for(0)


def test_calls_wait_for_the_baton_to_be_dropped() -> None:
    """A call asked for while somebody holds the baton is made when it is dropped; else at once."""
    errors: list[BaseException] = []
    baton, calls = Baton(errors.append), list[str]()
    baton.take(Gate())
    baton.call_soon(lambda: calls.append("queued"))
    baton.call_soon(lambda: calls[99])
    assert calls == []
    baton.drop()
    assert calls == ["queued"]
    assert [type(error) for error in errors] == [IndexError]
    baton.call_soon(lambda: calls.append("at once"))
    assert calls == ["queued", "at once"]


@pytest.mark.usefixtures("impatient")
def test_no_hand_over_is_lost() -> None:
    """Threads that take and drop as fast as they can all come to their end, one at a time."""
    baton, inside, most = Baton(fail), 0, 0

    def use() -> None:
        nonlocal inside, most
        gate = Gate()
        for _ in range(2000):
            baton.take(gate)
            inside += 1
            most = max(most, inside)
            inside -= 1
            baton.drop()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


class LateMutex:
    """A lock on which somebody else is always just a moment earlier or later."""

    def __init__(self, before_release: Callable[[], object], refusals: int = 0) -> None:
        self.held = False
        self.before_release = before_release
        self.refusals = refusals

    def acquire(self, blocking: bool) -> bool:
        if self.held or self.refusals:
            self.refusals -= 1
            return False
        self.held = True
        return True

    def release(self) -> None:
        self.before_release()
        self.held = False


def test_who_queues_just_before_the_release_is_seen() -> None:
    """Dropping looks at the queue once more: whoever queued meanwhile has seen the baton held."""
    baton, calls = Baton(fail), list[str]()
    arriving = [lambda: calls.append("seen")]
    baton.mutex = LateMutex(lambda: baton.queue.extend(arriving.pop() for _ in arriving[:]))  # type: ignore[assignment]
    baton.take(Gate())
    baton.drop()
    assert calls == ["seen"]


def test_who_queues_just_after_the_release_sees_it() -> None:
    """Taking tries once more when it has queued: the baton may have been dropped meanwhile."""
    baton, calls = Baton(fail), list[str]()
    baton.mutex = LateMutex(lambda: None, refusals=1)  # type: ignore[assignment]
    baton.take(Gate())
    baton.mutex = LateMutex(lambda: None)  # type: ignore[assignment]
    baton.call_soon(lambda: calls.append("at once"))
    assert calls == ["at once"]


def test_ctrl_c_on_the_way_to_a_wait_leaves_nobody_in_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises it between any two steps of ours. The baton is not handed to a thread that does not wait."""
    baton = host_of_the_calls().baton
    other = threading.Thread(target=blocking(bridgeio.sleep), args=(0.01,), daemon=True)

    def interrupted(lookout: Lookout, parking: Parking) -> None:
        monkeypatch.undo()
        other.start()
        while not baton.queue:
            os.sched_yield()
        raise KeyboardInterrupt

    monkeypatch.setattr(Lookout, "keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        blocking(bridgeio.sleep)(20)
    other.join(20)
    assert not other.is_alive()


def host_of_the_calls() -> ThreadsHost:
    async def of_this_call() -> ThreadsHost:
        return host()

    return blocking(of_this_call)()


def test_a_blocking_section_lets_the_others_go_on() -> None:
    """A call that blocks holds up nobody when it is marked; without the mark this would never end."""
    reached = threading.Event()

    async def other() -> None:
        reached.set()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(other)
            with bridgeio.lowlevel.blocking_section():
                assert reached.wait(20)

    run(main)


def test_timers_go_on_during_a_blocking_section() -> None:
    """A deadline of another task's is met while the only awake task blocks."""
    expired = threading.Event()

    async def other() -> None:
        await bridgeio.sleep(0.01)
        expired.set()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(other)
            await bridgeio.sleep(0)
            with bridgeio.lowlevel.blocking_section():
                assert expired.wait(20)

    run(main)


def test_a_deadline_set_before_a_blocking_section_is_met_in_it() -> None:
    """Nobody waits for it yet, and the task that set it will not: a thread is started for it."""
    expired = threading.Event()
    limit = bridgeio.CancelScope()

    async def other() -> None:
        with limit:
            await bridgeio.sleep_forever()
        expired.set()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(other)
            await bridgeio.sleep(0)
            limit.deadline = bridgeio.current_time() + 0.01
            with bridgeio.lowlevel.blocking_section():
                assert expired.wait(20)

    run(main)


@pytest.mark.parametrize("how", ["without the baton", "with it"])
def test_without_the_baton_a_wake_up_is_lost(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Why there is no way to do without: an event that is set between a waiter's last look and its sleep wakes nobody.

    The moment is made here, by a thread that sets the event just before the waiter would fall asleep. With
    the baton, which the waiter still holds then, the same thread's call is made when the waiter does sleep.
    """
    event, seen = bridgeio.Event(), list[str]()
    waiters: list[ThreadTask] = []
    rest = Parking.rest

    def rest_late(parking: Parking) -> None:
        if not waiters or waiters[0].parking is not parking:
            rest(parking)
            return
        waiter = waiters.pop()
        assert event._line is not None
        unguarded = event._line.grant_all  # what `Event.set` does once it has refused foreign threads
        setting = unguarded if how == "without the baton" else partial(waiter.host.call_soon_threadsafe, event.set)
        setter = threading.Thread(target=setting)
        setter.start()
        setter.join()
        if waiter.abort is None:
            seen.append("woken before it sleeps, and never again")
        else:
            rest(parking)
            seen.append("woken from its sleep")

    async def wait() -> None:
        task = current_task()
        assert isinstance(task, ThreadTask)
        waiters.append(task)
        await event.wait()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(wait)

    monkeypatch.setattr(Parking, "rest", rest_late)
    run(main)
    assert seen == ["woken from its sleep" if how == "with it" else "woken before it sleeps, and never again"]


def test_no_baton_is_refused() -> None:
    """The core relies on it: the error says so, and what to use instead."""
    with pytest.raises(ValueError, match="blocking_section"):
        run(echo_round, baton=False)


def test_an_unknown_option_is_refused() -> None:
    """As on every backend, a TypeError that names it."""
    with pytest.raises(TypeError, match="batton"):
        run(echo_round, batton=True)
