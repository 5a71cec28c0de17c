"""Cancel scopes and deadlines, with AnyIO's names and meaning."""

from __future__ import annotations

from math import inf
from sys import exception
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bridgeio.cancellation import Scope, redeliver, refresh
from bridgeio.checkpoints import begin
from bridgeio.contract import get_current
from bridgeio.registry import check_thread, current_host, current_task, is_in_thread_of
from bridgeio.timers import put_off
from bridgeio.unpatched import get_ident

if TYPE_CHECKING:
    from bridgeio.contract import Host, NativeScope, Task
    from bridgeio.timers import Timer

__all__ = [
    "CancelScope",
    "current_effective_deadline",
    "current_time",
    "fail_after",
    "fail_at",
    "get_cancelled_exc_class",
    "move_on_after",
    "move_on_at",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "without_cancellations",
]


class CancelScope(Scope):
    """A block of code that can be cancelled as a whole, from inside, outside, or by a deadline.

    Once it is cancelled, every wait inside raises the backend's cancelled class until the block is
    left; the scope then absorbs that exception, and nothing else. A *shield* keeps the cancellation
    of outer scopes out. Made in one task and entered in one; ``cancel()`` may be called by any task
    of the run, before the scope is entered too.

    A plain ``with`` block on every backend; on Trio one of Trio's own scopes stands under it.

    :param deadline: seconds on `current_time`'s clock; infinity for none. May be moved at any time.
        One in the past cancels at the first wait.
    :param shield: may be changed at any time.
    :ivar cancelled_caught: whether leaving the block absorbed the cancellation.
    """

    __slots__ = ("_amid", "_by_hand", "_host", "_native", "cancelled_caught", "queued_for", "when")

    def __init__(self, *, deadline: float = inf, shield: bool = False) -> None:
        if deadline != deadline:
            _check_number(deadline)
        # Scope's own, written out: a call more would show
        self.task = self.parent = self.children = self.reason = None
        self.called = self.cancelled = self.edge = False
        self.shielded = shield
        self.cancelled_caught = False
        self.when = deadline
        self.queued_for = inf
        self._amid = 0
        self._by_hand = False
        self._host: Host | None = None
        self._native: NativeScope | None = None

    def cancel(self, reason: str | None = None) -> None:
        """Cancels the block. A second call tells a task that swallowed the first once more.

        Returns at once; the tasks concerned hear of it at their waits.

        :raises RuntimeError: in another thread than the run's, while the scope is entered.

        :param reason: for those who debug: the text of the exception that ends waits, where it is the nearest
            cancel. (On Trio from version 0.31 on, in Trio's own words.)
        """
        self._check_thread()
        self.cancel_here(reason)

    def cancel_here(self, reason: str | None) -> None:
        """`cancel` for the core's own callbacks, such as an ``abort``, in which no task counts as running."""
        self._by_hand = self._by_hand or not self.cancel_called
        if self._native is not None:
            self._native.cancel(reason)
            return
        if self._is_overdue():
            self.ring()
        if self.called:
            redeliver(self)
        else:
            self.called = True
            self.reason = reason
            refresh(self)

    @property
    def cancel_called(self) -> bool:
        """Whether ``cancel()`` was called, or the deadline has passed inside the block."""
        if self._native is not None:
            return self._native.cancel_called
        if self.called or not self._is_overdue():
            return self.called
        if self._host is not None and is_in_thread_of(self._host):  # else the timer will see to it
            self.ring()  # who was told so is cancelled at the next wait
        return True

    @property
    def deadline(self) -> float:
        """Seconds on `current_time`'s clock; infinity for none."""
        return self._native.deadline if self._native is not None else self.when

    @deadline.setter
    def deadline(self, when: float) -> None:
        if self.queued_for <= when < inf:  # as in `put_off`: it is set anew for each message, as a rule
            host: Any = self._host  # what stands in a queue has one
            if get_ident() == host.thread or is_in_thread_of(host):
                self.when = when
                native = self._native
                if native is not None:
                    show = host.show_deadline
                    show(native, when)
                return
        self._move_deadline(when)

    def _move_deadline(self, when: float) -> None:
        _check_number(when)
        self._check_thread()
        if self._host is not None and self._native is not None:
            self._move_native(self._host, self._native, when)
            return
        self.when = when
        if self._host is not None and self.parent is not None:  # entered, and not left
            self._set_timer(self._host)

    def _move_native(self, host: Host, native: NativeScope, when: float) -> None:
        host.timers.leave(self)
        self.when = when
        later = native.deadline < when < inf  # what is put off once will be so again, as a rule
        if not later or not host.put_off(self, native):
            native.deadline = when

    @property
    def shield(self) -> bool:
        """Whether cancellations from outside are kept out."""
        return self._native.shield if self._native is not None else self.shielded

    @shield.setter
    def shield(self, value: bool) -> None:
        self._check_thread()
        self.shielded = value
        if self._native is not None:
            self._native.shield = value
        else:
            refresh(self)

    def __enter__(self) -> CancelScope:
        if self._host is not None:
            raise RuntimeError("this CancelScope was entered before; make a new one for each block")
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        host = task.host
        if not host.native_scopes:
            self.enter(task)
            return self
        self._host = host
        self._native = native = host.open_scope(self.when, self.shielded)
        native.__enter__()
        if self.called:
            native.cancel(self.reason)
        return self

    def enter(self, task: Task) -> None:
        """`__enter__` for those who know the calling task, where the tree is ours."""
        self._host = host = task.host
        parent = task.scope
        self.task = task
        self.link(parent)
        if self.cancelled:
            self.edge = parent.edge and not self.called
        if (amid := exception()) is not None:
            self._amid = id(amid)  # not the error itself: it would hold this frame, and so this scope
        task.scope = self
        if self.when != inf and not self.called:
            if self.when > host.now():
                host.timers.enter(self)
            else:
                self.ring()
        if self.called:
            _tell_of(self, task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        native = self._native
        if native is not None:
            try:
                return bool(native.__exit__(kind, error, trace))
            finally:
                self.cancelled_caught = native.cancelled_caught
                if self.queued_for != inf:
                    self._stop_timer()
        task = get_current()
        if (
            error is None
            and task is not None
            and task.thread == get_ident()
            and task.scope is self
            and self.leave_quietly(task)
        ):
            return False
        return self._leave(error)

    def leave_quietly(self, task: Task) -> bool:
        """The end of a block in which nothing has happened, as a rule; whether it was one. The task is the calling
        one, and this is its innermost scope."""
        parent = self.parent
        if self.cancelled or self.edge or parent is None or parent.cancelled:
            return False
        if self.queued_for != inf:
            task.host.timers.leave(self)
        task.scope = parent
        self.unlink()
        return True

    def _leave(self, error: BaseException | None) -> bool:
        task = self._check_innermost()
        rest = self._without_ours(task, error)
        if error is not None and rest is not error:
            self._keep_overtaken(task, error)
        self._leave_tree(task)
        if rest is error:
            return False
        self.cancelled_caught = True
        if rest is None:
            return True
        try:
            raise rest
        finally:
            del rest, error  # the traceback holds this frame

    def absorbs(self) -> bool:
        """Whether a cancellation that comes out of the block ends here: it is this scope's and no outer one's.
        Behind a shield it can only be this one's."""
        return self.cancelled and (self.shielded or self.parent is None or not self.parent.cancelled)

    def adopt_native(self, host: Host, native: NativeScope) -> None:
        """Stands for a scope that the framework has entered already: a native group's own."""
        self._host = host
        self._native = native
        if self.when != inf:
            native.deadline = self.when
        if self.shielded:
            native.shield = True
        if self.called:
            native.cancel(self.reason)

    def settle(self) -> None:
        """Takes over what became of the native scope, which is left by now."""
        assert self._native is not None
        self.cancelled_caught = self._native.cancelled_caught
        self._stop_timer()

    def _check_thread(self) -> None:
        if self._host is not None and (self.parent is not None or self._native is not None):  # else nobody is inside
            check_thread(self._host, "a method of a CancelScope")

    def _check_innermost(self) -> Task:
        task = current_task()
        if self._host is None:
            raise RuntimeError("this CancelScope is not entered")
        if self.parent is None:
            raise RuntimeError("this CancelScope was left before")
        if task is not self.task or task.scope is not self:
            raise RuntimeError(
                f"{self._misfortune(task)}; one that spans a yield in an async generator or a fixture can do that"
            )
        return task

    def _misfortune(self, task: Task) -> str:
        if task is not self.task:
            entered_in = getattr(self.task, "name", None)
            return f"a CancelScope was entered in task {entered_in!r} and left in task {task.name!r}"
        if not self._is_around(task.scope):
            return f"a CancelScope was left in task {task.name!r} after a scope around it"
        self._leave_tree(task)  # with those inside it, lest a deadline of theirs meets the task later
        return f"a CancelScope was left in task {task.name!r} before a scope inside it"

    def _is_around(self, inner: Scope | None) -> bool:
        while inner is not None and inner is not self:
            inner = inner.parent
        return inner is self

    def _leave_tree(self, task: Task) -> None:
        parent = self.parent
        assert parent is not None
        self._stop_timer()
        task.scope = parent
        if self.edge:
            if parent.cancelled and not self.shielded:
                parent.edge = True
            else:
                task.forgive()
        self.unlink()
        if parent.cancelled:  # while a shield stood between, nobody told the task
            _tell_of(parent, task)

    def _without_ours(self, task: Task, error: BaseException | None) -> BaseException | None:
        if error is None or not self.absorbs():
            return error
        return without_cancellations(task, error)

    def _keep_overtaken(self, task: Task, error: BaseException) -> None:
        """A native cancellation was on its way out of the block when, in a ``finally`` perhaps, ours came up
        in its place. It must not vanish with ours. (What came before the block goes on after it by itself.)"""
        overtaken = error.__context__
        while overtaken is not None and id(overtaken) != self._amid:
            if task.ends_a_block(overtaken) and not task.is_ours(overtaken):
                task.keep(overtaken)
                return
            overtaken = overtaken.__context__

    def _set_timer(self, host: Host) -> None:
        if self.called:
            return
        if self.when <= host.now():
            self.ring()
        elif not put_off(self, self.when):
            self._stop_timer()
            if self.when != inf:
                host.timers.enter(self)

    def _is_overdue(self) -> bool:
        """Whether the deadline has passed, and the host has had no time yet to say so."""
        return self.queued_for != inf and self._host is not None and self.when <= self._host.now()

    def ring(self) -> None:
        """The deadline has passed. A native scope looks for itself whether it has, and if not, sees to it again."""
        self._stop_timer()
        native = self._native
        if native is not None:
            if not native.cancel_called:
                native.deadline = native.deadline
        elif not self.called:
            self.called = True
            self.reason = "a deadline has passed"
            refresh(self)

    def _stop_timer(self) -> None:
        if self._host is not None:
            self._host.timers.leave(self)


def _tell_of(scope: Scope, task: Task) -> None:
    """The running task has just come into a cancelled scope. Of ours its next wait will tell it, but a
    task that somebody else drives has to be looked after before a wait of the framework's."""
    if not scope.edge and task.interrupt():
        scope.edge = True


def without_cancellations(task: Task, error: BaseException) -> BaseException | None:
    """What is left of an error if cancellations by scopes are taken out of it; itself, if there are none."""
    if isinstance(error, BaseExceptionGroup):
        # A bound method is refused before Python 3.13.
        ours, rest = error.split(lambda inner: task.is_ours(inner))  # noqa: PLW0108
        return error if ours is None else rest  # the rest is a copy also if it is all
    return None if task.is_ours(error) else error


class _FailScope(CancelScope):
    """A scope whose deadline is an error."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        caught = super().__exit__(kind, error, trace)
        if self.cancelled_caught and not self._by_hand:
            raise TimeoutError("the deadline of fail_after() or fail_at() has passed") from error
        return caught


def move_on_after(delay: float | None, *, shield: bool = False) -> CancelScope:
    """A scope that ends its block quietly after ``delay`` seconds; ``None`` means never.

    The seconds count from this call, not from entering the block.
    """
    return CancelScope(deadline=inf if delay is None else current_time() + delay, shield=shield)


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """A scope that ends its block quietly at a time on `current_time`'s clock."""
    return CancelScope(deadline=deadline, shield=shield)


def fail_after(delay: float | None, *, shield: bool = False) -> CancelScope:
    """A scope that ends its block with `TimeoutError` after ``delay`` seconds; ``None`` means never.

    The seconds count from this call. A block cancelled by hand before the deadline ends quietly, and
    one that ends in time, or with another error, is left alone.
    """
    return _FailScope(deadline=inf if delay is None else current_time() + delay, shield=shield)


def fail_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """A scope that ends its block with `TimeoutError` at a time on `current_time`'s clock."""
    return _FailScope(deadline=deadline, shield=shield)


def current_time() -> float:
    """Seconds on the backend's monotonic clock; only differences mean anything.

    :raises NoBackendError: outside any framework, as all functions here.
    """
    task = get_current()
    if task is not None and task.thread == get_ident():
        clock = task.host.clock
        return clock()  # type: ignore[no-any-return]
    return current_host().now()


def current_effective_deadline() -> float:
    """The earliest deadline that can cancel the calling task; minus infinity if it is cancelled."""
    task = current_task()
    if task.host.native_scopes:
        deadline: float = task.host.effective_deadline()
        return deadline
    scope: Scope | None = task.scope
    earliest = inf
    while scope is not None:
        if scope.called:
            return -inf
        if isinstance(scope, CancelScope):
            earliest = min(earliest, scope.deadline)
        scope = None if scope.shielded else scope.parent
    return earliest


def get_cancelled_exc_class() -> type[BaseException]:
    """The class that means "cancelled" on the running backend. Catch it only to clean up, and raise it on."""
    return current_host().cancelled_class


async def sleep(delay: float) -> None:
    """Waits that many seconds; zero or less gives way to others once. A cancel ends it at once."""
    await sleep_until(current_time() + max(delay, 0.0))


async def sleep_until(deadline: float) -> None:
    """Waits until a time on `current_time`'s clock."""
    task = await begin()
    host = task.host
    if deadline <= host.now():
        await task.give_way()
    elif deadline == inf:
        await task.park(_FOR_EVER)
    else:
        await task.park(_Sleep(host, host.timers.add(deadline, task.wake)))


async def sleep_forever() -> None:
    """Waits until it is cancelled."""
    await sleep_until(inf)


class _Sleep:
    """One task's wait for a time. Calling it is the wait's ``abort``."""

    __slots__ = ("_host", "_timer")

    def __init__(self, host: Host, timer: Timer) -> None:
        self._host = host
        self._timer = timer

    def __call__(self) -> bool:
        self._timer.cancel()
        return True

    def doing(self, abort: object) -> str:
        return f"sleeping until {self._timer.when - self._host.now():+.1f} s"


class _SleepForEver:
    def __call__(self) -> bool:
        return True

    def doing(self, abort: object) -> str:
        return "sleeping for ever"


_FOR_EVER = _SleepForEver()


def _check_number(deadline: float) -> None:
    if deadline != deadline:  # only NaN is not itself
        raise ValueError("a deadline must be a number, not NaN")
