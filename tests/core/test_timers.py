"""Timers: all deadlines of a run behind one timer of the host, on a clock that the test moves."""

from __future__ import annotations

from functools import partial

import pytest

from bridgeio.timers import Timer, put_off
from fake_host import FakeHost


def live(host: FakeHost) -> list[float]:
    """When the host's own timers are due."""
    return [handle.details[0] for handle in host.timers_set if not handle.cancelled]


def test_timers_fire_in_their_order() -> None:
    """Whatever order they were set in; equals in the order in which they were set."""
    host = FakeHost()
    fired: list[str] = []
    for when, name in ((3, "c"), (1, "a"), (2, "b"), (1, "a2")):
        host.timers.add(when, partial(fired.append, name))
    host.pass_time(2)
    assert fired == ["a", "a2", "b"]
    host.pass_time(3)
    assert fired == ["a", "a2", "b", "c"]


def test_the_host_has_one_timer() -> None:
    """However many deadlines there are, the host is asked for the earliest only."""
    host = FakeHost()
    for when in (5, 7, 3, 9):
        host.timers.add(when, lambda: None)
    assert live(host) == [3]
    host.pass_time(3)
    assert live(host) == [5]
    host.timers.add(5.0002, lambda: None)
    host.pass_time(5)
    assert live(host) == [5.0002]


def test_a_later_deadline_asks_nothing_of_the_host() -> None:
    """A timeout that is set and taken back for each message costs no call into the host."""
    host = FakeHost()
    host.timers.add(1, lambda: None)
    for number in range(1000):
        host.timers.add(10 + number, lambda: None).cancel()
    assert len(host.timers_set) == 1


def test_a_timer_that_was_taken_back_does_not_fire() -> None:
    """Also when it is due at once with others, and when another callback takes it back."""
    host, fired = FakeHost(), []
    first = host.timers.add(1, lambda: fired.append("first"))
    first.cancel()
    first.cancel()
    victims: list[Timer] = []

    def take_back() -> None:
        victims[0].cancel()

    host.timers.add(1, take_back)
    victims.append(host.timers.add(1, lambda: fired.append("victim")))
    host.timers.add(2, lambda: fired.append("last"))
    host.pass_time(2)
    assert fired == ["last"]
    assert len(host.timers) == 0


def test_leftovers_are_cleaned_up() -> None:
    """Deadlines that were taken back do not pile up, though the first one never comes to the top."""
    host = FakeHost()
    host.timers.add(1, lambda: None)
    for number in range(100_000):
        host.timers.add(1000 + number, lambda: None).cancel()
    assert len(host.timers) == 1
    assert len(host.timers._heap) < 1000


def test_a_timer_that_is_put_off() -> None:
    """It fires at its new time and not before, also when that is moved again; the host is asked once for each time
    at which it would have been due, and not for each move."""
    host, fired = FakeHost(), []
    timer = host.timers.add(1, lambda: fired.append("put off"))
    host.timers.add(6, lambda: fired.append("next"))
    for when in range(201, 1000):
        assert put_off(timer, when / 200)
    assert live(host) == [1]
    host.pass_time(1)
    assert fired == []
    assert live(host) == [4.995]
    assert put_off(timer, 5)
    host.pass_time(4.999)
    assert fired == []
    host.pass_time(5)
    assert fired == ["put off"]
    host.pass_time(6)
    assert fired == ["put off", "next"]
    assert len(host.timers) == 0


def test_a_timer_that_cannot_be_put_off() -> None:
    """One that would have to fire earlier, or never, or that has fired or was taken back, says so and is unchanged."""
    host, fired = FakeHost(), []
    timer = host.timers.add(2, lambda: fired.append("due"))
    assert [put_off(timer, when) for when in (1, 1.999, float("inf"), float("nan"))] == [False] * 4
    host.pass_time(2)
    assert fired == ["due"]
    assert not put_off(timer, 3)
    taken_back = host.timers.add(3, lambda: fired.append("taken back"))
    taken_back.cancel()
    assert not put_off(taken_back, 4)
    host.pass_time(5)
    assert fired == ["due"]


def test_a_timer_that_is_put_off_and_taken_back() -> None:
    """It does not fire, and its entry is a leftover as any other's."""
    host, fired = FakeHost(), []
    timer = host.timers.add(1, lambda: fired.append("taken back"))
    put_off(timer, 3)
    host.pass_time(2)
    timer.cancel()
    assert len(host.timers) == 0
    host.pass_time(3)
    assert fired == []
    assert live(host) == []


def test_cancelling_a_timer_that_has_fired() -> None:
    """Taking back what has happened changes nothing."""
    host = FakeHost()
    timer = host.timers.add(1, lambda: None)
    host.pass_time(1)
    timer.cancel()
    assert len(host.timers) == 0


def test_a_callback_that_raises_holds_up_nobody() -> None:
    """Its error comes out, and the deadlines that are left are asked for again."""
    host, fired = FakeHost(), []

    def fail() -> None:
        raise KeyboardInterrupt

    host.timers.add(1, fail)
    host.timers.add(1, lambda: fired.append("same time"))
    host.timers.add(2, lambda: fired.append("later"))
    with pytest.raises(KeyboardInterrupt):
        host.pass_time(1)
    host.pass_time(2)
    assert fired == ["same time", "later"]


def test_a_callback_may_set_timers() -> None:
    """One that is due already fires in the same go or in the next; one for later waits."""
    host, fired = FakeHost(), []
    host.timers.add(1, lambda: host.timers.add(0, lambda: fired.append("due")))
    host.timers.add(1, lambda: host.timers.add(5, lambda: fired.append("later")))
    host.pass_time(1)
    host.pass_time(1)
    assert fired == ["due"]
    host.pass_time(5)
    assert fired == ["due", "later"]


def test_a_host_that_comes_too_early() -> None:
    """It is asked once more, for a time that its timer can tell from now, however little was missing; and those that
    it was asked for meanwhile, or that are due by then, fire in their turn."""
    host, fired = FakeHost(), []
    host.timers.add(1, lambda: fired.append("first"))
    host.timers.add(1.0002, lambda: fired.append("second"))
    host.time = 1 - 1e-9
    host.timers.run_due()
    assert fired == []
    (again,) = live(host)
    assert 1.0005 < again < 1.0015
    host.timers.add(0.5, lambda: fired.append("at once"))
    assert live(host) == [0.5]
    host.pass_time(host.time)
    assert fired == ["at once"]
    host.pass_time(again)
    assert fired == ["at once", "first", "second"]
    assert live(host) == []


def test_closing_takes_everything_back() -> None:
    """After ``close`` nothing fires, and the host's timer is taken back."""
    host, fired = FakeHost(), []
    host.timers.add(1, lambda: fired.append("too late"))
    host.timers.close()
    assert live(host) == []
    host.pass_time(1)
    assert fired == []
