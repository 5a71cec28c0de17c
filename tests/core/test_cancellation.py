"""The cancellation tree: who is cancelled, and who hears of it, and how often."""

from __future__ import annotations

from bridgeio.cancellation import Scope, move, redeliver, refresh
from fake_host import FakeTask


def cancel(scope: Scope) -> None:
    scope.called = True
    refresh(scope)


def scope_in(task: FakeTask, *, shielded: bool = False) -> Scope:
    """A scope that the task has entered."""
    scope = Scope()
    scope.shielded = shielded
    scope.task = task
    scope.link(task.scope)
    task.scope = scope
    return scope


def parked(scope: Scope | None = None, *, takes_back: bool = True) -> FakeTask:
    """A task in one of our waits."""
    task = FakeTask(scope=scope)
    task.park(lambda: takes_back)
    return task


def test_a_cancel_reaches_everything_below() -> None:
    """Children of children are cancelled, siblings and parents are not."""
    top = Scope()
    left, right = Scope(top), Scope(top)
    below = Scope(Scope(left))
    cancel(left)
    assert (left.cancelled, below.cancelled) == (True, True)
    assert (top.cancelled, right.cancelled) == (False, False)


def test_a_very_deep_tree() -> None:
    """Nothing recurses: a chain of 100,000 scopes is cancelled as a short one."""
    top = bottom = Scope()
    for _ in range(100_000):
        bottom = Scope(bottom)
    cancel(top)
    assert bottom.cancelled
    while bottom.parent is not None:  # or taking it apart would recurse
        parent = bottom.parent
        bottom.unlink()
        bottom = parent


def test_a_shield_keeps_it_out() -> None:
    """Below a shield nothing is cancelled by what is above; the shield itself can be."""
    top = Scope()
    shield = Scope()
    shield.shielded = True
    shield.link(top)
    below = Scope(shield)
    cancel(top)
    assert not below.cancelled
    cancel(shield)
    assert below.cancelled


def test_lifting_a_shield_lets_it_in() -> None:
    """A shield that is taken away while the outer scope is cancelled makes the inner one cancelled."""
    task = parked()
    outer = task.scope
    inner = scope_in(task, shielded=True)
    cancel(outer)
    assert task.woken == 0
    inner.shielded = False
    refresh(inner)
    assert (task.woken, task.failing) == (1, True)


def test_a_parked_task_is_woken_once() -> None:
    """Its wait is taken back, it is told that it fails; a second cancel above adds nothing."""
    top = Scope()
    task = parked(Scope(top))
    cancel(task.scope)
    assert (task.woken, task.failing) == (1, True)
    cancel(top)
    assert task.woken == 1


def test_a_wait_that_has_its_result_is_left_alone() -> None:
    """An abort that says no keeps the task parked: the result wins, the bit tells at the next wait."""
    task = parked(takes_back=False)
    cancel(task.scope)
    assert (task.woken, task.failing, task.scope.cancelled) == (0, False, True)


def test_a_foreign_wait_is_ended_once() -> None:
    """A task that waits for the host gets one edge for one cancel, however often the tree is refreshed."""
    top = Scope()
    task = FakeTask(scope=Scope(top))
    cancel(task.scope)
    refresh(task.scope)
    cancel(top)
    assert task.interrupted == 1


def test_a_second_explicit_cancel_tells_again() -> None:
    """``redeliver`` gives every task below the edge once more, but not those behind a shield."""
    top = Scope()
    task, shielded = FakeTask(scope=Scope(top)), FakeTask(scope=Scope(top))
    scope_in(shielded, shielded=True)
    cancel(top)
    redeliver(top)
    assert (task.interrupted, shielded.interrupted) == (2, 0)


def test_only_the_innermost_scope_speaks_to_the_task() -> None:
    """A task inside two cancelled scopes hears of it once."""
    task = parked()
    outer = task.scope
    scope_in(task)
    cancel(outer)
    assert task.woken == 1


def test_every_bit_is_set_before_any_task_hears() -> None:
    """A task that is told finds its siblings' scopes cancelled already."""
    top, seen = Scope(), []
    scopes = [Scope(top) for _ in range(5)]

    class Looking(FakeTask):
        __slots__ = ()

        def wake(self) -> None:
            seen.append(all(scope.cancelled for scope in scopes))
            super().wake()

    tasks = [Looking(scope=scope) for scope in scopes]
    for task in tasks:
        task.park(lambda: True)
    cancel(top)
    assert seen == [True] * 5


def test_moving_into_a_cancelled_scope() -> None:
    """A task that is hung below a cancelled scope hears of it."""
    gone, free = Scope(), Scope()
    cancel(gone)
    task = parked(Scope(free))
    move(task.scope, gone)
    assert (task.woken, task.failing) == (1, True)
    assert task.scope not in (free.children or ())


def test_moving_out_of_a_cancelled_scope() -> None:
    """A scope that is hung elsewhere is cancelled only by what is above it there."""
    gone, free = Scope(), Scope()
    inner = Scope(gone)
    cancel(gone)
    move(inner, free)
    assert not inner.cancelled


def test_a_new_child_of_a_cancelled_scope_is_cancelled() -> None:
    """Whoever is linked later is cancelled from the start."""
    gone = Scope()
    cancel(gone)
    assert Scope(gone).cancelled


def test_an_unlinked_scope_is_forgotten() -> None:
    """A scope that was left hears nothing any more, and nobody keeps it."""
    top = Scope()
    task = parked(Scope(top))
    task.scope.unlink()
    task.scope.unlink()
    cancel(top)
    assert task.woken == 0
    assert not top.children
