"""Tasks on Twisted, which has none: a coroutine, and what the reactor's next turn does with it.

Rule 1: a task goes on only in `TwistedHost.drain`. Whatever wakes it puts it into the queue, also a
Deferred that fires in somebody's stack: nothing recurses, and nobody is run inside a canceller.
Rule 2: whoever drives the coroutine answers ``None`` to `PARK` and `GIVE_WAY`. Twisted's own
drivers echo a value that is no Deferred, and that is how a wait of ours finds out about them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, FirstError
from twisted.python.failure import Failure

from bridgeio.contract import BUDGET, CURRENT, Scope, Task
from bridgeio.errors import NoBackendError

if TYPE_CHECKING:
    from bridgeio_twisted.host import TwistedHost

__all__ = ["Cancelled", "Ended", "TwistedTask", "failure_of", "not_a_task"]

Ended = Callable[[Any, "BaseException | None"], object]


class Cancelled(BaseException):
    """A cancellation by a scope. Twisted's own ``CancelledError`` is an `Exception`, and too easily eaten."""


class _Token:
    """What a task yields to the trampoline, and nothing else does."""

    def __init__(self, meaning: str) -> None:
        self._meaning = meaning

    def __repr__(self) -> str:
        return f"<a bridgeio task that {self._meaning}>"


PARK = _Token("waits")
GIVE_WAY = _Token("gives way")


class TwistedTask(Task):
    """One coroutine on the trampoline.

    :ivar thread: see `Task.thread`.
    :ivar root: its own node of the tree, outside all scopes that it enters.
    :ivar foreign: the Deferred that it awaits.
    :ivar on_end: called with its result and its error, if it is nobody's child.
    """

    __slots__ = (
        "_error",
        "_failed",
        "_in_context",
        "_interrupted",
        "_send",
        "_throw",
        "_value",
        "foreign",
        "on_end",
        "root",
        "thread",
    )

    host: TwistedHost
    thread: int

    def __init__(
        self, host: TwistedHost, coro: Coroutine[Any, Any, object], name: str, scope: Scope, on_end: Ended | None = None
    ) -> None:
        super().__init__(host, name, scope)
        self.root = scope
        self.thread = 0
        self.foreign: Deferred[Any] | None = None
        context = copy_context()
        context.run(CURRENT.set, self)
        self._in_context: Any = context.run
        self._send: Any = coro.send
        self._throw: Any = coro.throw
        self._value: Any = None
        self._error: BaseException | None = None
        self._failed: tuple[Deferred[Any], Failure] | None = None
        self._interrupted = False
        self.on_end = on_end

    @coroutine
    def park(self, abort: Callable[[], bool]) -> Generator[Any, Any, None]:
        self.abort = abort
        try:
            answer = yield PARK
        except BaseException:  # the coroutine is being closed, or is on nobody's trampoline of ours
            self.abort = None
            abort()
            raise
        if answer is not None:
            self.abort = None
            abort()
            raise not_a_task()
        self.budget = BUDGET
        if self.failing:
            raise self.cancellation()

    def wake(self) -> None:
        if self.abort is not None:
            self.abort = None
            host = self.host
            host.ready.append(self)
            if host.idle:
                host.schedule()

    @coroutine
    def give_way(self) -> Generator[Any, Any, None]:
        self.budget = BUDGET
        if (yield GIVE_WAY) is not None:
            raise not_a_task()

    def interrupt(self) -> bool:
        """Cancels the Deferred. Its canceller is somebody else's code, and runs right here; the task
        itself does not, see rule 1."""
        waited = self.foreign
        if waited is None:
            return False
        self._interrupted = True
        try:
            waited.cancel()
        except Exception as error:
            self.host.report(error, f"the canceller of what {self.name} awaits")
        return True

    def native_wait(self) -> str | None:
        return None if self.foreign is None else f"awaiting {self.foreign!r:.200}"

    def step(self) -> None:
        """Lets the coroutine go on until it waits again. Raises nothing."""
        self.thread = self.host.thread
        try:
            if self._failed is not None:
                self._error = self._failure()
            if self._error is None:
                value, self._value = self._value, None
                waited = self._in_context(self._send, value)
            else:
                error, self._error = self._error, None
                waited = self._in_context(self._throw, error)
        except StopIteration as stop:
            self._end()
            self.host.ended(self, stop.value, None)
        except BaseException as raised:
            self._end()
            self.host.ended(self, None, raised)
        else:
            self.thread = 0
            if waited is not PARK:
                self._wait_for(waited)

    def _end(self) -> None:
        self.thread = 0  # pyright: ignore[reportIncompatibleMethodOverride] (a slot may stand for a property)
        self._in_context = self._send = self._throw = None  # the context refers to the task

    def resume(self) -> None:
        """Has its turn soon. For a task that is neither parked nor queued."""
        self.host.ready.append(self)
        if self.host.idle:
            self.host.schedule()

    def _wait_for(self, waited: object) -> None:
        if waited is GIVE_WAY:
            self.host.yielded.append(self)
        elif isinstance(waited, Deferred):
            self._await_deferred(waited)
        else:
            self._error = TypeError(
                f"a bridgeio task on Twisted can await bridgeio's functions and Deferreds, and was given {waited!r}"
            )
            self.resume()

    def _await_deferred(self, waited: Deferred[Any]) -> None:
        self.foreign = waited
        waited.addBoth(self._fired)
        self.enter_native_wait()

    def _fired(self, result: Any) -> Any:
        """The Deferred's result, which stays with it: others may await it, too."""
        waited, self.foreign = self.foreign, None
        if waited is not None:
            if isinstance(result, Failure):
                self._failed = (waited, result)
            else:
                self._interrupted = False
                self._value = result
            self.resume()
        return result

    def _failure(self) -> BaseException:
        """What the coroutine is to see of a Deferred that failed."""
        assert self._failed is not None
        (waited, failure), self._failed = self._failed, None
        interrupted, self._interrupted = self._interrupted, False
        if getattr(waited, "result", None) is failure:
            _hear(waited)
        error: BaseException = failure.value  # type: ignore[assignment]
        if interrupted and _is_cancellation(error):
            return self.cancellation()
        return error.with_traceback(failure.tb)


def not_a_task() -> NoBackendError:
    """The caller is in Twisted, and on no trampoline of ours."""
    return NoBackendError(
        "this code is no bridgeio task: a plain callback of the reactor cannot wait, and a coroutine under "
        "Deferred.fromCoroutine or inlineCallbacks is driven by Twisted; start it with "
        "bridgeio_twisted.as_deferred(coroutine), which returns a Deferred"
    )


def failure_of(error: BaseException) -> Failure:
    """An error as Twisted passes it on."""
    return Failure(error, type(error), error.__traceback__)  # type: ignore[no-untyped-call]


def _is_cancellation(error: BaseException) -> bool:
    """Whether a Deferred that was cancelled has failed of that. `gatherResults` and Twisted's HTTP client wrap
    what has ended them."""
    wrapped: Any = [error.subFailure] if isinstance(error, FirstError) else getattr(error, "reasons", None)
    if isinstance(wrapped, list):
        return any(isinstance(failure, Failure) and _is_cancellation(failure.value) for failure in wrapped)  # type: ignore[arg-type]
    return isinstance(error, CancelledError)


def _hear(waited: Deferred[Any]) -> None:
    """Tells a failed Deferred that its error was heard, in the way that ``await`` does: the result
    stays, and Twisted does not log it as unhandled."""
    try:
        waited.__await__().send(None)
    except BaseException:
        return
