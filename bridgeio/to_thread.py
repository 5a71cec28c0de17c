"""Calls that block, made in worker threads while the run goes on. AnyIO's names and meaning.

The threads are real ones on every backend, on gevent too, patched or not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, TypeVar, TypeVarTuple

from bridgeio.checkpoints import begin
from bridgeio.groups import name_of
from bridgeio.offloading import Call
from bridgeio.registry import running_host
from bridgeio.runvars import RunVar, kept_by
from bridgeio.semaphores import CapacityLimiter, check_limiter

__all__ = ["current_default_thread_limiter", "run_sync"]

T = TypeVar("T")
Args = TypeVarTuple("Args")

TOKENS = 40  # AnyIO's, too

_limiter: RunVar[CapacityLimiter] = RunVar("bridgeio.to_thread.limiter")


async def run_sync(
    func: Callable[[*Args], T],
    *args: *Args,
    abandon_on_cancel: bool = False,
    limiter: CapacityLimiter | None = None,
) -> T:
    """Calls ``func(*args)`` in a worker thread, and returns its result, or raises what it raised.

    The thread runs in a copy of the caller's context, is inside no framework, and may call `bridgeio.from_thread`.
    It is used again by later calls; one that has had nothing to do for ten seconds ends, and so do all such at the
    end of a run.

    A cancel that comes while it waits for a token takes nothing. After that the call is made, and the task waits for
    its end: its result comes, and the cancellation at the next wait. ``func`` may ask for that, with
    `bridgeio.from_thread.check_cancelled`.

    :param abandon_on_cancel: a cancel ends the wait at once. The thread goes on alone until ``func`` returns, and
        what it returns or raises is dropped. Nothing waits for it at the end of the run or of the program.
    :param limiter: borrows a token from it until the thread has ended, or its run; by default from the run's own
        (`current_default_thread_limiter`).
    :raises TypeError: if ``func`` is no function, or an async one.
    :raises RuntimeError: if ``func`` raises `StopIteration`, which cannot come out of an async function.
    :raises OSError: if the system gives no thread.
    """
    task = await begin()
    _check(func, limiter)
    tokens = current_default_thread_limiter() if limiter is None else limiter
    borrower = _Borrower(func)
    await tokens.acquire_on_behalf_of(borrower)
    call = Call(task, partial(func, *args), abandon_on_cancel, partial(tokens.release_on_behalf_of, borrower))
    try:
        await task.checkpoint_if_cancelled()
        call.start()
    except BaseException:
        tokens.release_on_behalf_of(borrower)
        raise
    return await call.wait()


def current_default_thread_limiter() -> CapacityLimiter:
    """What `run_sync` borrows from in this run by default: 40 tokens, and ``total_tokens`` may be set.

    :raises NoBackendError: outside any run.
    """
    return kept_by(running_host(), _limiter, lambda: CapacityLimiter(TOKENS))


class _Borrower:
    """Stands for one call: a task that abandons one can begin the next while the first has its token."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = name_of(function)

    def __repr__(self) -> str:
        return f"<call of {self._function} in a worker thread>"


def _check(function: Any, limiter: Any) -> None:
    if not callable(function):
        raise TypeError(f"to_thread.run_sync() takes a function and its arguments after it, not {function!r}")
    if iscoroutinefunction(function):
        raise TypeError(
            f"{name_of(function)} is an async function: await it, or give run_sync() a plain one; in a thread an async "
            "one can be called by from_thread.run()"
        )
    check_limiter(limiter)
