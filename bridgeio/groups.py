"""Task groups: children that never outlive their block, with AnyIO's names and meaning."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from types import CoroutineType, FunctionType, MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple, overload

from bridgeio.cancellation import Scope, move, refresh
from bridgeio.checkpoints import begin, spend
from bridgeio.contract import get_current
from bridgeio.registry import check_thread, current_host, current_task
from bridgeio.scopes import CancelScope, without_cancellations
from bridgeio.unpatched import get_ident

if TYPE_CHECKING:
    from bridgeio.contract import Host, NativeGroup, Task

__all__ = ["TASK_STATUS_IGNORED", "TaskGroup", "TaskStatus", "as_coroutine", "create_task_group", "name_of"]

T_contra = TypeVar("T_contra", contravariant=True)
Args = TypeVarTuple("Args")
AsyncFunction = Callable[..., Coroutine[Any, Any, Any]]


class TaskStatus(Protocol[T_contra]):
    """What `TaskGroup.start` passes as ``task_status``: call ``started(value)`` once, when it is true.

    The task belongs to the group from then on, and not to the caller of ``start``. A second call is a
    RuntimeError, and so is one in another thread than the run's.
    """

    @overload
    def started(self: TaskStatus[None]) -> None: ...
    @overload
    def started(self, value: T_contra) -> None: ...


class _Ignored:
    def started(self, value: object = None) -> None:
        """The function was called directly: nobody waits to hear that it started."""


TASK_STATUS_IGNORED: TaskStatus[Any] = _Ignored()


_PLAIN = (FunctionType, MethodType)


def create_task_group() -> TaskGroup:
    """A new `TaskGroup`, to be entered with ``async with``."""
    return TaskGroup()


class TaskGroup:
    """Runs functions as tasks of their own, and ends when all of them have ended.

    One failure cancels the others; every failure comes out in one `ExceptionGroup`; cancellations
    never do. A group that is itself cancelled still waits for its children.

    :ivar cancel_scope: the scope around the block and all children.
    """

    __slots__ = (
        "__weakref__",
        "_children",
        "_errors",
        "_has_cancelled",
        "_host_task",
        "_is_joining",
        "_native",
        "_open",
        "cancel_scope",
    )

    def __init__(self) -> None:
        self.cancel_scope = CancelScope()
        self._children: set[Any] = set()
        self._errors: list[BaseException] = []
        self._host_task: Task | None = None
        self._native: NativeGroup | None = None
        self._open = False
        self._is_joining = False  # the block is over, and its task waits for the children
        self._has_cancelled = False  # a scope of ours has ended the block or a child

    async def __aenter__(self) -> TaskGroup:
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:  # all as in `begin`: a coroutine more would show
            await task.checkpoint_if_cancelled()
        if self._host_task is not None:
            raise RuntimeError("this TaskGroup was entered before; make a new one for each block")
        self._host_task = task
        if task.host.native_scopes:
            self._native = group = task.host.open_group()
            self.cancel_scope.adopt_native(task.host, await group.__aenter__())
        else:
            self.cancel_scope.enter(task)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task = self._host_task
        if task is None or task is not get_current() or task.thread != get_ident():
            task = self._check_leaver()
        if self._native is not None:
            try:
                absorbed = bool(await self._native.__aexit__(kind, error, trace))
                if error is None:  # as elsewhere; a nursery of Trio's would leave that to the next wait
                    await task.checkpoint_if_cancelled()
                return absorbed
            finally:
                del error, trace  # the error may come out again, and its traceback holds this frame
                self._open = False
                self.cancel_scope.settle()
        if error is not None:
            self._end_early(task, error)
        if self._children:
            self._is_joining = True
            try:
                while self._children:
                    await task.park(self._cancel_and_stay)
            finally:
                self._is_joining = False
        else:
            await spend(task)  # or groups without children, one after the other, would let nobody else run
        self._open = False
        scope = self.cancel_scope
        scope.cancelled_caught = self._has_cancelled and scope.absorbs()
        if self._errors:
            try:
                self._raise_failures(task, error)
            finally:
                del error, trace
        if error is None and task.scope is scope and scope.leave_quietly(task):
            absorbed = False
        else:
            absorbed = scope.__exit__(kind, error, None)  # a cancellation is on its way, from inside or out
        if error is None and (task.scope.cancelled or task.kept):
            await task.checkpoint_if_cancelled()  # natively, too: that came while the children were waited for
        return absorbed

    def start_soon(
        self, function: Callable[[*Args], Coroutine[Any, Any, Any]], *args: *Args, name: object = None
    ) -> None:
        """Starts ``function(*args)`` as a child, and returns at once.

        The child runs in a copy of the caller's context. It always starts, also in a group that is
        cancelled, so what was passed to it can be closed. Any task may call this while the block is open.

        :param name: for log messages; by default where the function was defined.
        :raises TypeError: if calling the function does not give a coroutine.
        :raises RuntimeError: if the group is not open, or the caller is in another thread than the run.
        """
        around = self._host_task
        if not self._open or around is None:
            raise self._not_open()
        caller = get_current()
        if caller is None or caller.host is not around.host or caller.thread != get_ident():
            check_thread(around.host, "TaskGroup.start_soon()")
        label = name_of(function, name)
        if self._native is not None:
            self._native.start_soon(partial(as_coroutine, function), args, label)
        else:
            plain = type(function) in _PLAIN  # as a rule; a call for others would show
            coro = function(*args) if plain else as_coroutine(function, *args)
            if type(coro) is not CoroutineType:
                coro = _checked(coro, function)
            self._spawn(around.host, coro, label, None)

    async def start(self, function: AsyncFunction, *args: object, name: object = None) -> Any:
        """Starts a child and waits until it says ``task_status.started(value)``; returns that value.

        Cancelling this wait cancels the child, and waits for its end. A child that fails before it
        has started raises here, and leaves the group alone.

        :raises RuntimeError: if the child ends without having said so.
        :raises TypeError: if calling the function gives no coroutine, or it takes no ``task_status``.
        """
        if not self._open:
            raise self._not_open()
        label = name_of(function, name)
        if self._native is not None:
            return await self._native.start(partial(_with_status, function), args, label)
        task = await begin()
        start = _Start(self, task, label)
        coro = _startable(function, *args, task_status=start)
        start.child = self._spawn(task.host, coro, label, start)
        return await start.wait()

    def doing(self, abort: object) -> str:
        names = sorted(child.name for child in list(self._children))
        return f"waiting for its children: {', '.join(names)}"

    def _check_leaver(self) -> Task:
        """:raises RuntimeError: in another task than the group's. Its children are cancelled then: nobody
        will wait for them."""
        task = current_task()
        if self._host_task is not None and task is not self._host_task:
            self.cancel_scope.cancel("the group was left in another task")
            raise RuntimeError(
                f"a TaskGroup was entered in task {self._host_task.name!r} and left in task {task.name!r}; "
                "one that spans a yield in an async generator or a fixture can do that"
            )
        return task

    def _not_open(self) -> RuntimeError:
        return RuntimeError("this TaskGroup is not open: enter it with `async with`, and start tasks inside the block")

    def _spawn(self, host: Host, coro: Coroutine[Any, Any, Any], name: str, start: _Start | None) -> Task:
        scope = Scope(self.cancel_scope if start is None else start.scope)
        body = self._run_child(coro, scope, start)
        try:
            child = host.spawn(body, name, scope)
        except BaseException:  # no thread or descriptor to be had: nothing was started, nothing is left
            scope.unlink()
            if start is not None:
                start.scope.unlink()
            body.close()
            coro.close()
            raise
        child.coro = coro
        self._children.add(child)
        return child

    async def _run_child(self, coro: Coroutine[Any, Any, Any], scope: Scope, start: _Start | None) -> None:
        task: Any = scope.task  # a Task: the tree knows less of it than a group does
        assert task is not None
        try:
            await coro
        except BaseException as error:
            if self._is_cancellation(error):
                self._child_was_cancelled(task.is_ours(error), start)
                raise  # from no other frame: one that holds it as a local would be a circle
            failure = without_cancellations(task, error)
            if failure is None:  # a group of them, which is no cancellation for the host
                self._child_was_cancelled(True, start)
            else:
                self._child_failed(failure, start)
            del failure  # the same
        finally:
            scope.unlink()
            scope.task = None  # ends the cycle: a task that is over needs no garbage collector
            self._children.discard(task)
            if start is not None:
                start.child_ended()
            if self._is_joining and not self._children and self._host_task is not None:
                self._host_task.wake()

    def _is_cancellation(self, error: BaseException) -> bool:
        assert self._host_task is not None
        return isinstance(error, self._host_task.host.cancelled_class)

    def _child_failed(self, error: BaseException, start: _Start | None) -> None:
        if start is not None and not start.has_moved:
            start.error = error
            return
        self._errors.append(error)
        if not self.cancel_scope.called:
            self.cancel_scope.cancel(f"a task of the group failed with {type(error).__name__}")

    def _child_was_cancelled(self, by_a_scope: bool, start: _Start | None) -> None:
        if start is not None and not start.has_moved:
            start.was_cancelled = True
        elif by_a_scope:
            self._has_cancelled = True

    def _cancel_and_stay(self) -> bool:
        """The abort of the group's own wait: children hear of it, and are waited for all the same."""
        if not self.cancel_scope.called:
            self.cancel_scope.cancel_here("the task that waits for the group was cancelled")
        return False

    def _end_early(self, task: Task, error: BaseException) -> None:
        """The block has ended by an error."""
        failure = without_cancellations(task, error)
        self._has_cancelled = self._has_cancelled or failure is not error
        if failure is not None and not task.ends_a_block(error):
            self._errors.append(failure)
        del failure
        if not self.cancel_scope.called:
            self.cancel_scope.cancel(f"the block of the group ended with {type(error).__name__}")

    def _raise_failures(self, task: Task, error: BaseException | None) -> None:
        if error is not None and task.ends_a_block(error):
            task.keep(error)
        failures = BaseExceptionGroup("unhandled errors in a TaskGroup", self._errors)
        failures.__suppress_context__ = error is not None  # which stands inside, or is a cancellation
        self._errors = []
        try:
            self.cancel_scope.__exit__(type(failures), failures, None)
            raise failures
        finally:
            del failures, error


class _Start:
    """The wait of one `TaskGroup.start`, and the ``task_status`` of its child.

    Until the child has started it stands below a scope of its own inside the caller's, so that a
    cancel of the caller reaches it; then it moves to the group. One that has heard of such a cancel
    does not: it could carry the cancellation to where nobody expects one, or go on as if there were none.

    :ivar has_started: the child said so.
    :ivar has_moved: it is the group's.
    :ivar was_cancelled: it ended by a cancellation before it was.
    """

    def __init__(self, group: TaskGroup, caller: Task, name: str) -> None:
        self.scope = Scope(caller.scope)
        self.child: Task | None = None
        self.error: BaseException | None = None
        self.has_started = False
        self.has_moved = False
        self.was_cancelled = False
        self._ended = False
        self._group = group
        self._caller = caller
        self._name = name
        self._value: Any = None

    def started(self, value: Any = None) -> None:
        check_thread(self._caller.host, "task_status.started()")
        if self.has_started:
            raise RuntimeError("task_status.started() was called twice")
        self.has_started = True
        self._value = value
        if not self.scope.cancelled:
            self.has_moved = True
            self._move_to_group()
            self._wake()

    def child_ended(self) -> None:
        self._ended = True
        if not self.has_moved:
            self._wake()

    async def wait(self) -> Any:
        while not (self.has_moved or self._ended):
            await self._caller.park(self._abort)
        self.scope.unlink()
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None
        if self.has_started and not self.was_cancelled:
            return self._value
        await self._caller.checkpoint_if_cancelled()  # natively, too: the caller was, and so was the child
        raise RuntimeError(f"{self._name} ended without calling task_status.started()")

    def doing(self, abort: object) -> str:
        return f"waiting for {self._name} to say that it has started"

    def _wake(self) -> None:
        if self._caller.abort == self._abort:
            self._caller.wake()

    def _abort(self) -> bool:
        """The caller is cancelled natively: the child hears of it, and is waited for."""
        if not self.scope.called:
            self.scope.called = True
            refresh(self.scope)
        return False

    def _move_to_group(self) -> None:
        for root in list(self.scope.children or ()):
            move(root, self._group.cancel_scope)


class _NativeStatus:
    """The ``task_status`` of a child in a framework's own group."""

    def __init__(self, native: TaskStatus[Any], host: Host) -> None:
        self._native = native
        self._host = host

    def started(self, value: Any = None) -> None:
        check_thread(self._host, "task_status.started()")
        self._native.started(value)


def _with_status(function: AsyncFunction, *args: object, task_status: TaskStatus[Any]) -> Coroutine[Any, Any, Any]:
    """What a framework's own group calls, in the child, in place of the function."""
    return _startable(function, *args, task_status=_NativeStatus(task_status, current_host()))


def _startable(function: AsyncFunction, *args: object, task_status: Any) -> Coroutine[Any, Any, Any]:
    try:
        return as_coroutine(function, *args, task_status=task_status)
    except TypeError as error:
        if "task_status" not in str(error):
            raise
        raise TypeError(
            f"{name_of(function)} has no parameter task_status, which start() gives to it: add one, and call "
            "task_status.started(); or use start_soon()"
        ) from error


def name_of(function: object, name: object = None) -> str:
    """What a task is called when nobody named it: where its function was defined."""
    if name is not None:
        return str(name)
    if type(function) is FunctionType:
        return f"{function.__module__}.{function.__qualname__}"
    while isinstance(function, partial):
        function = function.func
    module = getattr(function, "__module__", None)
    label = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{label}" if module else str(label)


def as_coroutine(function: Any, *args: object, **kwargs: object) -> Coroutine[Any, Any, Any]:
    """Calls the function, and refuses what is no coroutine with words that help."""
    if type(function) is not FunctionType:
        _check_function(function)
    return _checked(function(*args, **kwargs), function)


def _checked(coro: Any, function: object) -> Coroutine[Any, Any, Any]:
    """What calling the function gave, if that is a coroutine."""
    if not isinstance(coro, CoroutineType):
        raise TypeError(
            f"{name_of(function)} is no async function: calling it gave {type(coro).__name__}, not a coroutine"
        )
    return coro


def _check_function(function: Any) -> None:
    if isinstance(function, CoroutineType):
        function.close()
        raise TypeError("a coroutine object was given where the async function itself is wanted: leave out the ()")
    if not callable(function):
        raise TypeError(f"an async function is wanted, not {function!r}")
