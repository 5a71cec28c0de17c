"""Calls that compute for long, made in worker processes. AnyIO's names and meaning.

Each worker has an interpreter of its own, so that several compute at once, and can be killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from bridgeio.checkpoints import begin
from bridgeio.groups import name_of
from bridgeio.registry import running_host
from bridgeio.runvars import RunVar, kept_by
from bridgeio.scopes import CancelScope
from bridgeio.semaphores import CapacityLimiter, check_limiter

if TYPE_CHECKING:
    from bridgeio.contract import Host
    from bridgeio.process_pool import Reply

__all__ = ["current_default_process_limiter", "run_sync"]

T = TypeVar("T")
Args = TypeVarTuple("Args")

_limiter: RunVar[CapacityLimiter] = RunVar("bridgeio.to_process.limiter")


async def run_sync(
    func: Callable[[*Args], T],
    *args: *Args,
    cancellable: bool = False,
    limiter: CapacityLimiter | None = None,
) -> T:
    """Calls ``func(*args)`` in a worker process, and returns its result, or raises what it raised.

    Function, arguments and result are pickled. What was defined in a script is found by importing that script under
    the name ``__mp_main__``, as `multiprocessing` does. A worker is used again; one that was idle for five minutes is
    ended by the next call, and all of them at the end of the run.

    A cancel that comes while it waits for a token takes nothing. After that the call is made, and the task waits for
    its end: its result comes, and the cancellation at the next wait.

    A worker reads nothing from standard input, shares the program's standard output, and ignores Ctrl-C. It is run by
    the same interpreter with the same options (``-O``, ``-W``, ``-X``). If this process is killed, the system ends it
    by SIGIO, also in the middle of a call. An exception has the worker's traceback as a note.

    :param cancellable: a cancel kills the worker, and ends the wait at once.
    :param limiter: borrows a token from it for the time of the call; by default from the run's own
        (`current_default_process_limiter`).
    :raises BrokenWorkerProcess: if the worker ends in the middle of the call.
    :raises pickle.PicklingError: if what is to be sent cannot be pickled, or in the worker what is to be sent back.
    :raises pickle.UnpicklingError: if what was sent back cannot be unpickled here.
    :raises TypeError: if ``func`` is no function, or an async one.
    :raises OSError: if the system gives no process.
    :raises RuntimeError: if no interpreter could run one, as in a frozen program.
    """
    task = await begin()
    _check(func, limiter)
    request = _pickled(func, args)
    tokens = current_default_process_limiter() if limiter is None else limiter
    borrower = _Borrower(func)
    await tokens.acquire_on_behalf_of(borrower)
    try:
        await task.checkpoint_if_cancelled()
        with CancelScope(shield=not cancellable):
            reply = await _call(task.host, request)
    finally:
        tokens.release_on_behalf_of(borrower)
    result: T = reply.result()
    return result


def current_default_process_limiter() -> CapacityLimiter:
    """What `run_sync` borrows from in this run by default: as many tokens as there are processors.

    :raises NoBackendError: outside any run.
    """
    return kept_by(running_host(), _limiter, lambda: CapacityLimiter(os.cpu_count() or 2))


async def _call(host: Host, request: bytes) -> Reply:
    from bridgeio.process_pool import pool_of  # brings pickle along, and few need it

    pool = pool_of(host)
    worker = pool.take()
    reply = await worker.call(request)
    pool.put(worker)
    return reply


class _Borrower:
    """Stands for one call: a task of its own may have a token of the same limiter."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = name_of(function)

    def __repr__(self) -> str:
        return f"<call of {self._function} in a worker process>"


def _pickled(function: Any, args: tuple[object, ...]) -> bytes:
    import pickle

    try:
        return pickle.dumps((function, args), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise pickle.PicklingError(
            f"{name_of(function)} and its arguments have to be sent to a worker process, and cannot be pickled: {error}"
        ) from error


def _check(function: Any, limiter: Any) -> None:
    if not callable(function):
        raise TypeError(f"to_process.run_sync() takes a function and its arguments after it, not {function!r}")
    if iscoroutinefunction(function):
        raise TypeError(f"{name_of(function)} is an async function: a worker process calls plain ones")
    check_limiter(limiter)
