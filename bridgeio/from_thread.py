"""Calls from threads into a run. AnyIO's names and meaning.

In a thread that `bridgeio.to_thread` works in, the calls go to the task that waits for the thread. In any other
thread they need the run's token (`bridgeio.lowlevel.current_token`), or a `BlockingPortal`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, TypeVar, TypeVarTuple

from bridgeio.errors import NoBackendError
from bridgeio.groups import as_coroutine, name_of
from bridgeio.offloading import AbandonedError, Call, call_of_this_thread
from bridgeio.portals import BlockingPortal, BlockingPortalProvider, start_blocking_portal
from bridgeio.registry import surrounding_backend
from bridgeio.runvars import EventLoopToken
from bridgeio.unpatched import get_ident
from bridgeio.visits import Visit

__all__ = [
    "BlockingPortal",
    "BlockingPortalProvider",
    "check_cancelled",
    "run",
    "run_sync",
    "start_blocking_portal",
]

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run(async_fn: Callable[[*Args], Coroutine[Any, Any, T]], *args: *Args, token: EventLoopToken | None = None) -> T:
    """Has ``async_fn(*args)`` run in the run, waits for its end, and returns its result or raises what it raised.

    It runs in a copy of this thread's context. Without a token the task that waits for this thread runs it: in that
    task's scopes, so a cancellation reaches it. If the task has abandoned this thread, it is not called.

    :param token: of the run, for threads that `to_thread.run_sync` did not start. It runs as a task of its own then,
        which is cancelled when the run's main function ends.
    :raises NoBackendError: in another thread without a token.
    :raises RuntimeError: in the run's own thread, where it would wait for itself; or if the run has ended.
    """
    make: Callable[[], Coroutine[Any, Any, T]] = partial(as_coroutine, async_fn, *args)
    if token is not None:
        return _visit(token, make, name_of(async_fn))
    call = _call("run")
    try:
        return call.ask(make)
    except AbandonedError:
        pass
    raise call.host.cancellation_in_thread()


def run_sync(fn: Callable[[*Args], T], *args: *Args, token: EventLoopToken | None = None) -> T:
    """Calls ``fn(*args)`` in the run's thread, in a task, and returns its result or raises what it raised.

    For what is not to be called in other threads, such as `Event.set` or `CancelScope.cancel`. Also for a task that
    is cancelled, and in a thread that was abandoned.

    :param token: as for `run`; so are the errors.
    :raises TypeError: if ``fn`` is no function, or an async one, which nobody would await.
    """
    _check_plain(fn)
    make: Callable[[], Coroutine[Any, Any, T]] = partial(_called, fn, args)
    if token is not None:
        return _visit(token, make, name_of(fn))
    call = _call("run_sync")
    try:
        return call.ask(make)
    except AbandonedError:
        pass
    return Visit(call.host, make, name_of(fn)).result()


def check_cancelled() -> None:
    """Raises the run's cancelled class if the task that waits for this thread is cancelled, or has abandoned it.

    For functions that work long: let it out, and the task is cancelled where it waits.

    :raises NoBackendError: in a thread that `to_thread.run_sync` did not start.
    """
    call = _call("check_cancelled")
    if call.is_cancelled():
        raise call.host.cancellation_in_thread()


async def _called(function: Callable[..., T], args: tuple[Any, ...]) -> T:
    return function(*args)


def _check_plain(function: Any) -> None:
    if not callable(function) or iscoroutinefunction(function):
        raise TypeError(f"from_thread.run_sync() takes a plain function and its arguments after it, not {function!r}")


def _visit(token: EventLoopToken, make: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
    if not isinstance(token, EventLoopToken):
        raise TypeError(f"token is what lowlevel.current_token() returns, not {token!r}")
    if token.host.admits(get_ident()):
        raise RuntimeError(
            f"{name} is to be called in a run by that run's own thread, which would wait for itself: "
            "call it, or await it, right there"
        )
    return Visit(token.host, make, name).result()


def _call(function: str) -> Call[Any]:
    call = call_of_this_thread()
    if call is not None:
        return call
    if surrounding_backend() is not None:
        raise NoBackendError(
            f"from_thread.{function}() is for worker threads, and was called in the thread of a run: call, or await, "
            "the function itself"
        )
    raise NoBackendError(
        f"from_thread.{function}() was called in a thread that to_thread.run_sync() did not start"
        + (
            ""
            if function == "check_cancelled"
            else ": give it token=, which lowlevel.current_token() returns in the run"
        )
    )
