"""Ticks: numbers on a grid of times, no drift, no bursts. The clock is a fake one."""

from __future__ import annotations

import gc
from math import inf, nan
from typing import Any

import pytest

from bridgeio import every
from bridgeio.ticks import Grid, Ticks
from driven import DrivenTask
from fake_host import FakeHost


def at(time: float) -> DrivenTask:
    """A task on a host whose clock shows that."""
    host = FakeHost()
    host.time = time
    return DrivenTask(host)


def next_tick(task: DrivenTask, ticks: Ticks) -> tuple[object, float]:
    """The tick's number, and when it came: the clock moves on only when the task waits for a time."""
    waits = task.begin(ticks.__anext__())
    while waits:
        if waits == "parked":
            task.host.pass_time(min(handle.details[0] for handle in task.host.timers_set if not handle.cancelled))
        waits = task.go_on()
    return task.result, task.host.now()


def test_ticks_stand_on_a_grid() -> None:
    """The first tick comes at once, tick n comes n distances later, however long the work in between takes."""
    task, ticks = at(100), every(10)
    times = []
    for work in (3, 9.5, 0, 10):
        times.append(next_tick(task, ticks))
        task.host.pass_time(task.host.now() + work)
    assert times == [(0, 100), (1, 110), (2, 120), (3, 130)]


def test_what_was_missed_is_left_out() -> None:
    """One tick that was missed comes at once; of several only the newest does. Then the grid goes on."""
    task, ticks = at(0), every(10)
    came = []
    for until in (12, 45, 46, 50):
        came.append(next_tick(task, ticks))
        task.host.pass_time(until)
    assert came == [(0, 0), (1, 12), (4, 45), (5, 50)]
    assert next_tick(task, ticks) == (6, 60)


def test_ticks_do_not_drift() -> None:
    """After a million ticks of a tenth of a second, which no float is, the time is the first's and a million tenths."""
    grid = Grid(1000.1, 0.1)
    now, number = 0.0, 0
    for expected in range(1_000_000):
        now = grid.time_of(number)
        assert grid.due(number, now) == expected
        number = expected + 1
    assert now == 1000.1 + 999_999 * 0.1


def test_each_tick_gives_way() -> None:
    """Also one that is late: work that always takes too long does not keep others from their turn."""
    task, ticks = at(0), every(1)
    for time in (0, 5, 10):
        task.host.pass_time(time)
        assert task.begin(ticks.__anext__()) == "gave way"
        assert task.go_on() == ""
        assert task.result == time


def test_the_first_tick_is_never_missed() -> None:
    """However long its turn took: it is number 0, and those after it are counted from when it was asked for."""
    task, ticks = at(0), every(1)
    task.begin(ticks.__anext__())
    task.host.pass_time(3)
    task.go_on()
    assert task.result == 0
    assert next_tick(task, ticks) == (3, 3)


def test_a_wait_that_is_broken_off_takes_no_tick() -> None:
    """The tick that was waited for is the next one still."""
    task, ticks = at(0), every(10)
    next_tick(task, ticks)
    assert task.begin(ticks.__anext__()) == "parked"
    task.close()
    assert next_tick(task, ticks) == (1, 10)


def test_another_run_begins_anew() -> None:
    """What one run's clock showed means nothing on another's."""
    ticks = every(10)
    one, other = at(1000), at(5)
    assert [next_tick(one, ticks), next_tick(one, ticks)] == [(0, 1000), (1, 1010)]
    assert [next_tick(other, ticks), next_tick(other, ticks)] == [(0, 5), (1, 15)]


def test_the_ticks_hold_no_run() -> None:
    """An iterator that outlives its run lets go of it."""
    ticks = every(10)
    next_tick(at(0), ticks)
    gc.collect()
    assert ticks._host is not None
    assert ticks._host() is None


@pytest.mark.parametrize("seconds", [0, -1, -0.0, inf, -inf, nan])
def test_a_distance_that_is_none(seconds: float) -> None:
    """What is not more than zero and finite is a ValueError, at the call and not at the first tick."""
    with pytest.raises(ValueError, match="more than zero"):
        every(seconds)


@pytest.mark.parametrize("seconds", ["1", None])
def test_a_distance_that_is_no_number(seconds: Any) -> None:
    """It is a TypeError at the call."""
    with pytest.raises(TypeError):
        every(seconds)
