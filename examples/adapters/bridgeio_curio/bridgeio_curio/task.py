"""Tasks on curio: every step of the coroutine goes through `drive`, which sees what it asks of the kernel."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import curio
from curio.sched import SchedBarrier

from bridgeio.contract import BUDGET, CURRENT, Scope, Task
from bridgeio.unpatched import get_ident

if TYPE_CHECKING:
    from bridgeio_curio.host import CurioHost

__all__ = ["CurioTask", "ScopeCancelled", "drive"]

T = TypeVar("T")

# Requests in which curio itself looks for a cancellation. All others are answered at once.
_WAITS = {"trap_io", "trap_future_wait", "trap_sched_wait", "trap_sleep"}


class ScopeCancelled(curio.CancelledError):  # type: ignore[misc]
    """A cancellation by a scope of ours. curio's own are its siblings."""


class CurioTask(Task):
    """Parks on a barrier of its own.

    :ivar native: the `curio.Task` that carries it, once it has begun.
    :ivar root: the task's own node in the cancellation tree.
    """

    __slots__ = ("_barrier", "native", "root", "thread")

    thread: int

    def __init__(self, host: CurioHost, name: str, scope: Scope) -> None:
        super().__init__(host, name, scope)
        self.thread = 0
        self.root = scope
        self.native: Any = None
        self._barrier = SchedBarrier()

    async def park(self, abort: Callable[[], bool]) -> None:
        """Only `wake` ends the loop: the barrier may open late for a wait that is over, and the kernel
        ends its own part of a wait without asking whether ours can be taken back."""
        self.abort = abort
        kept = None
        while self._is_parked():
            try:
                await self._barrier.suspend("BRIDGEIO")
            except curio.CancelledError as error:
                if self._is_parked() and abort():
                    self.abort = None
                    raise
                kept = error
            except BaseException:  # the kernel is closing us
                self.abort = None
                abort()
                raise
        self.budget = BUDGET
        if kept is not None:
            await self._keep(kept)
        if self.failing:
            raise self.cancellation()

    def wake(self) -> None:
        if self.abort is not None:
            self.abort = None
            self.host.request(self._barrier.wake)

    async def give_way(self) -> None:
        self.budget = BUDGET
        async with curio.disable_cancellation():
            await curio.sleep(0)

    def interrupt(self) -> bool:
        """Has somebody look who can. Whether the task has heard of it is noted when it has."""
        self.host.request(self._end_native_wait)
        return False

    async def raise_kept(self) -> None:
        self.kept = False
        await curio.check_cancellation()

    def cancellation(self) -> BaseException:
        self.failing = False
        self.scope.edge = True
        return ScopeCancelled()

    def is_ours(self, error: BaseException) -> bool:
        return isinstance(error, ScopeCancelled)

    def answer_instead(self, trap: tuple[Any, ...]) -> BaseException | None:
        """What the kernel need not be asked: a native wait that begins when the scope is cancelled."""
        if self.abort is None and trap[0] in _WAITS and self._owes_edge():
            return self.cancellation()
        return None

    def _is_parked(self) -> bool:
        return self.abort is not None

    async def _keep(self, error: BaseException) -> None:
        """Has curio raise it at the next wait."""
        self.kept = True
        await curio.set_cancellation(error)

    async def _end_native_wait(self) -> None:
        """curio cancels a task once and for all, and forgets its timeout. This one may go on, so what
        `cancel` notes is put back."""
        native = self.native
        if native is None or not native.cancel_func or self.abort is not None or not self._owes_edge():
            return
        before = native.cancelled, native.timeout
        native.cancelled = None
        await native.cancel(exc=self.cancellation(), blocking=False)
        native.cancelled, native.timeout = before

    def _owes_edge(self) -> bool:
        return self.scope.cancelled and not self.scope.edge and self.native.allow_cancel


async def drive(task: CurioTask, coro: Coroutine[Any, Any, T], context: Context) -> T:
    """The body of the `curio.Task` that carries one of ours."""
    task.native = await curio.current_task()
    context.run(CURRENT.set, task)
    try:
        return await _steps(task, coro, context)
    finally:
        coro.close()


@coroutine
def _steps(task: CurioTask, coro: Coroutine[Any, Any, T], context: Context) -> Generator[Any, Any, T]:
    """Passes on what the coroutine asks of the kernel, after what others were promised meanwhile.

    curio's answers are values, also when they are exceptions: its traps raise them.
    """
    host = task.host
    thread = get_ident()
    answer: object = None
    while True:
        task.thread = thread
        host.attended = True
        try:
            trap = context.run(coro.send, answer)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        finally:
            task.thread = 0
            yield from host.carry_out()
        answer = task.answer_instead(trap) or (yield trap)
