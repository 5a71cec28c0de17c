"""Random programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from hypothesis import strategies as st

from modelling import programs as language
from modelling.programs import Body, Op, Program

__all__ = ["THEMES", "programs"]

EVENTS = ("e1", "e2")
CONDITION = "c1"
LOCKS = ("l1", "s1", "n1", CONDITION)
BARRIER = "b1"
CHANNELS = ("c1",)
QUEUES = ("q1", "q1", "q2")
SIZE = 16  # steps of a program
DEPTH = 5

# Deadlines are halves most of the time and sleeps are whole numbers: so the two meet seldom, not never.
_SECONDS = st.sampled_from([1.0, 2.0, 3.0, 1.0, 2.0, 5.0, 0.0])
_TIMES = st.sampled_from([1.5, 2.5, 0.5, 3.5, 5.5, 9.5, 1.0, 2.0, 0.0, -1.0])


_Maker = Callable[["_Plan", "_Place"], Op]


@dataclass(frozen=True)
class _Theme:
    """What a program is about: the kinds of steps it chooses from; a kind that stands there twice comes more often.

    :ivar races: what a task may wait for, and how another one gives it that; see `_race`.
    """

    children: tuple[_Maker, ...]
    branches: tuple[_Maker, ...]
    leaves: tuple[_Maker, ...]
    races: tuple[tuple[tuple[_Maker, ...], tuple[_Maker, ...]], ...] = ()


@dataclass
class _Plan:
    """What has been given out so far.

    :ivar theme: which kinds of steps it has.
    :ivar queue: the one that it uses.
    :ivar left: how many steps the program may still have.
    :ivar scopes: every scope, and whether it has a deadline: then it may be made a shield.
    """

    draw: Any
    theme: _Theme
    queue: str
    left: int = SIZE
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    scopes: dict[str, bool] = field(default_factory=dict)
    groups: list[str] = field(default_factory=list)

    def name(self, letter: str) -> str:
        return f"{letter}{next(self.numbers)}"


@dataclass(frozen=True)
class _Place:
    """Where a step is going to stand.

    :ivar groups: those that are open there, the innermost last.
    :ivar held: locks that the task has.
    """

    groups: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    depth: int = 0


@st.composite
def programs(draw: Any, theme: str) -> Program:
    """A program of up to `SIZE` steps.

    :param theme: one of `THEMES`.
    """
    plan = _Plan(draw, THEMES[theme], draw(st.sampled_from(QUEUES)))
    if draw(st.sampled_from([True, True, True, False])):
        together = _race if plan.theme.races and draw(st.booleans()) else _crowd
        body: Body = (together(plan), *_body(plan, _Place(), least=0))
    else:
        body = _body(plan, _Place(), least=3)
    return Program(_with_targets(plan, body))


def _crowd(plan: _Plan) -> Op:
    """Two or three tasks in a group; left to chance this would be rare, and orders matter most between tasks."""
    group = plan.name("g")
    plan.groups.append(group)
    place = _Place((group,), depth=1)
    number = plan.draw(st.integers(2, 3))
    children = [language.Spawn(group, plan.name("t"), _body(plan, place, least=2)) for _ in range(number)]
    return language.Group(group, (*children, *_body(plan, place, least=0)))


def _race(plan: _Plan) -> Op:
    """A task that gets what it waits for and is cancelled, or the other way round, in one step of another: where all
    have made mistakes. A third one may be waiting behind it."""
    waits, gives = plan.draw(st.sampled_from(plan.theme.races))
    group, scope = plan.name("g"), plan.name("s")
    plan.groups.append(group)
    plan.scopes[scope] = False
    place = _Place((group,), depth=1)
    inside = _deeper(place)
    waiting = (*_made(waits, plan, inside), *_body(plan, inside, least=0))
    tasks: list[Body] = [(language.Within(scope, waiting), *_body(plan, place, least=0))]
    if plan.draw(st.booleans()):
        tasks.append(_made(waits, plan, place))
    giving = (*_made(gives, plan, place), language.Cancel(scope))
    if plan.draw(st.sampled_from([False, False, True])):
        giving = giving[::-1]
    tasks.append((language.Sleep(1.0), *giving, *_body(plan, place, least=0)))
    return language.Group(group, tuple(language.Spawn(group, plan.name("t"), body) for body in tasks))


def _made(makers: tuple[_Maker, ...], plan: _Plan, place: _Place) -> Body:
    return tuple(make(plan, place) for make in makers)


def _body(plan: _Plan, place: _Place, least: int = 1) -> Body:
    steps: list[Op] = []
    for _ in range(plan.draw(st.integers(least, 4))):
        if plan.left > 0:
            plan.left -= 1
            steps.append(_step(plan, place))
    return tuple(steps)


def _step(plan: _Plan, place: _Place) -> Op:
    theme = plan.theme
    choices = theme.leaves if place.depth >= DEPTH else theme.branches + theme.leaves
    if place.groups and place.depth < DEPTH:
        choices = theme.children + choices
    return plan.draw(st.sampled_from(choices))(plan, place)  # type: ignore[no-any-return]


def _sleep(plan: _Plan, place: _Place) -> Op:
    return language.Sleep(plan.draw(_SECONDS))


def _checkpoint(plan: _Plan, place: _Place) -> Op:
    return language.Checkpoint()


def _set(plan: _Plan, place: _Place) -> Op:
    return language.SetEvent(plan.draw(st.sampled_from(EVENTS)))


def _wait(plan: _Plan, place: _Place) -> Op:
    return language.WaitEvent(plan.draw(st.sampled_from(EVENTS)))


def _fail(plan: _Plan, place: _Place) -> Op:
    return language.Fail(plan.name("f"))


def _started(plan: _Plan, place: _Place) -> Op:
    return language.Started()


def _notice(plan: _Plan, place: _Place) -> Op:
    return _holding_the_condition(place, language.WaitNotice(CONDITION))


def _notify(plan: _Plan, place: _Place) -> Op:
    return _holding_the_condition(place, language.Notify(CONDITION, plan.draw(st.sampled_from([1, 1, 2, None]))))


def _holding_the_condition(place: _Place, op: Op) -> Op:
    return op if CONDITION in place.held else language.Hold(CONDITION, (op,))


def _meet(plan: _Plan, place: _Place) -> Op:
    return language.Meet(BARRIER)


def _send(plan: _Plan, place: _Place) -> Op:
    return language.Send(plan.draw(st.sampled_from(CHANNELS)), plan.name("i"))


def _receive(plan: _Plan, place: _Place) -> Op:
    return language.Receive(plan.draw(st.sampled_from(CHANNELS)))


def _put(plan: _Plan, place: _Place) -> Op:
    return language.Put(plan.queue, plan.name("i"))


def _get(plan: _Plan, place: _Place) -> Op:
    return language.Get(plan.queue)


def _done(plan: _Plan, place: _Place) -> Op:
    return language.TaskDone(plan.queue)


def _join(plan: _Plan, place: _Place) -> Op:
    return language.JoinQueue(plan.queue)


def _shut_down(plan: _Plan, place: _Place) -> Op:
    return language.ShutDown(plan.queue, plan.draw(st.booleans()))


def _cancel(plan: _Plan, place: _Place) -> Op:
    return language.Cancel(_ANY.format(plan.draw(st.integers(0, 5))))


def _move(plan: _Plan, place: _Place) -> Op:
    return language.MoveDeadline(_ANY.format(plan.draw(st.integers(0, 5))), plan.draw(_TIMES))


def _shield(plan: _Plan, place: _Place) -> Op:
    return language.SetShield(_ANY.format(plan.draw(st.integers(0, 5))), plan.draw(st.booleans()))


def _deeper(place: _Place, **changes: Any) -> _Place:
    return replace(place, depth=place.depth + 1, **changes)


def _within(plan: _Plan, place: _Place) -> Op:
    scope = plan.name("s")
    shield = plan.draw(st.sampled_from([False, False, True]))
    deadline = plan.draw(_TIMES) if shield or plan.draw(st.booleans()) else float("inf")
    plan.scopes[scope] = deadline != float("inf")
    fails = deadline != float("inf") and plan.draw(st.sampled_from([False, False, False, True]))
    return language.Within(scope, _body(plan, _deeper(place)), deadline, shield, fails)


def _group(plan: _Plan, place: _Place) -> Op:
    if CONDITION in place.held:
        return language.Checkpoint()
    group = plan.name("g")
    plan.groups.append(group)
    return language.Group(group, _body(plan, _deeper(place, groups=(*place.groups, group)), least=2))


def _spawn(plan: _Plan, place: _Place) -> Op:
    number = plan.draw(st.integers(0, len(place.groups) - 1))
    inside = _deeper(place, groups=place.groups[: number + 1], held=())
    return language.Spawn(place.groups[number], plan.name("t"), _body(plan, inside))


def _start(plan: _Plan, place: _Place) -> Op:
    number = plan.draw(st.integers(0, len(place.groups) - 1))
    inside = _deeper(place, groups=place.groups[: number + 1], held=())
    task = plan.name("t")
    before, after = _body(plan, inside, least=0), _body(plan, inside, least=0)
    says = plan.draw(st.sampled_from([True, True, True, False]))
    return language.Start(place.groups[number], task, (*before, *([language.Started()] if says else []), *after))


def _guard(plan: _Plan, place: _Place) -> Op:
    swallows = plan.draw(st.sampled_from([False, False, True]))
    return language.GuardCancel(_body(plan, _deeper(place)), _body(plan, _deeper(place), least=0), swallows)


def _catch(plan: _Plan, place: _Place) -> Op:
    return language.CatchFailures(_body(plan, _deeper(place)))


def _hold(plan: _Plan, place: _Place) -> Op:
    free = [lock for lock in LOCKS if lock not in place.held]
    if not free:
        return language.Checkpoint()
    return _hold_one(plan, place, plan.draw(st.sampled_from(free)))


def _hold_condition(plan: _Plan, place: _Place) -> Op:
    return language.Checkpoint() if CONDITION in place.held else _hold_one(plan, place, CONDITION)


def _hold_one(plan: _Plan, place: _Place, lock: str) -> Op:
    return language.Hold(lock, _body(plan, _deeper(place, held=(*place.held, lock))))


# Left to chance alone, two tasks seldom meet at the same lock in the same moment. So each program has a theme; and each
# theme is given its share of the programs, because hypothesis, which varies what it has had, would pass over some.
THEMES = {
    "everything": _Theme(
        children=(_spawn, _spawn, _start),
        branches=(_within, _within, _within, _group, _group, _guard, _catch, _hold),
        leaves=(_sleep, _sleep, _sleep, _checkpoint, _set, _wait, _fail, _send, _receive, _cancel, _move, _shield),
        races=(((_wait,), (_set,)),),
    ),
    "locks": _Theme(
        (_spawn,),
        (_hold, _hold, _hold, _within, _within, _guard),
        (_sleep, _sleep, _cancel, _checkpoint),
        races=(((_sleep, _hold), (_hold,)),),
    ),
    "conditions": _Theme(
        children=(_spawn,),
        branches=(_hold_condition, _hold_condition, _within, _within, _guard),
        leaves=(_notice, _notice, _notice, _notify, _notify, _sleep, _sleep, _cancel),
        races=(((_notice,), (_notify,)), ((_notice,), (_hold_condition,))),
    ),
    "barriers": _Theme(
        (_spawn,),
        (_within, _within, _guard),
        (_meet, _meet, _sleep, _sleep, _cancel),
        races=(((_meet,), (_meet,)),),
    ),
    "channels": _Theme(
        (_spawn,),
        (_within, _within, _guard),
        (_send, _send, _receive, _receive, _sleep, _cancel),
        races=(((_receive,), (_send,)), ((_send, _send), (_receive,))),
    ),
    "queues": _Theme(
        (_spawn,),
        (_within, _within, _guard),
        (_put, _put, _get, _get, _sleep, _cancel),
        races=(((_get,), (_put,)), ((_put, _put), (_get,))),
    ),
    "queues that end": _Theme(
        children=(_spawn,),
        branches=(_within, _guard, _catch, _catch),
        leaves=(_put, _put, _put, _get, _get, _done, _done, _join, _join, _shut_down, _sleep, _sleep, _cancel),
        races=(
            ((_put, _join), (_done,)),
            ((_put, _join), (_shut_down,)),
            ((_put, _put), (_get, _done, _done)),
            ((_put, _put), (_shut_down, _get)),
            ((_get,), (_shut_down,)),
        ),
    ),
    "failures": _Theme(
        (_spawn,), (_group, _catch, _guard, _guard, _within), (_sleep, _fail, _fail, _cancel, _set, _wait)
    ),
    "deadlines": _Theme(
        (_spawn,), (_within, _within, _within, _group), (_sleep, _sleep, _move, _move, _cancel, _shield)
    ),
    "starting": _Theme(
        (_start, _start, _spawn), (_within, _within, _guard), (_sleep, _sleep, _fail, _cancel, _checkpoint)
    ),
}

# What shall be cancelled is known only when the whole program is: it may stand before the scope's own block.
_ANY = "#{}"


def _with_targets(plan: _Plan, body: Body) -> Body:
    """The same body, where each number of a scope is its name."""
    scopes = list(plan.scopes)
    limited = [name for name, has_deadline in plan.scopes.items() if has_deadline]
    return tuple(_with_target(op, [*scopes, *plan.groups, "root"], scopes, limited) for op in body)


def _with_target(op: Op, everything: list[str], scopes: list[str], limited: list[str]) -> Op:
    if isinstance(op, language.Cancel | language.MoveDeadline | language.SetShield):
        if not op.scope.startswith(_ANY[0]):
            return op
        fit = {language.Cancel: everything, language.MoveDeadline: scopes, language.SetShield: limited}[type(op)]
        number = int(op.scope[1:])
        return replace(op, scope=fit[number % len(fit)]) if fit else language.Checkpoint()
    bodies = {
        name: tuple(_with_target(inner, everything, scopes, limited) for inner in value)
        for name, value in vars(op).items()
        if isinstance(value, tuple)
    }
    return replace(op, **bodies) if bodies else op  # type: ignore[type-var] # every step is a dataclass
