"""The same source from synchronous code: `blocking`.

There is no second copy of anything and no loop in a thread: in a thread or a greenlet a wait may
simply block, so the coroutine never yields and runs to its end in its caller's frame.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from types import CoroutineType, TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, overload

from bridgeio.registry import backend, surrounding_backend

__all__ = ["BlockingContext", "BlockingIterator", "blocking"]

P = ParamSpec("P")
T = TypeVar("T")


@overload
def blocking(async_fn: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]: ...
@overload
def blocking(async_fn: Callable[P, AbstractAsyncContextManager[T]]) -> Callable[P, BlockingContext[T]]: ...
@overload
def blocking(async_fn: Callable[P, AsyncIterator[T]]) -> Callable[P, BlockingIterator[T]]: ...
def blocking(async_fn: Callable[P, Any]) -> Callable[P, Any]:
    """The function as one that blocks its caller, for plain threads and for greenlets.

    Outside a run all calls share one run for the process (for the hub, on gevent), so a connection
    made by one call serves the next, in any thread. Inside a threads or gevent task the call runs
    in that task. Functions that return an async context manager or an async iterator give one for
    ``with`` or ``for``; what such a block enters, the calls inside it are in.

    Between two calls a `Writer`'s synchronous methods may be called as they are; everything else of
    bridgeio belongs inside a call. Calls by several threads take turns at their waits.

    :raises TypeError: by the call, if the function gives nothing of that kind; for a coroutine, at once.
    :raises RuntimeError: when called where an event loop is running, which it would stop.
    """

    given: object = async_fn
    if isinstance(given, CoroutineType):
        given.close()
        raise TypeError("blocking() takes the async function itself, and gives one to call: leave out the first ()")

    @functools.wraps(async_fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> Any:
        made = async_fn(*args, **kwargs)
        if isinstance(made, CoroutineType):
            return _block(made)
        if isinstance(made, AbstractAsyncContextManager):
            return BlockingContext(made)
        if isinstance(made, AsyncIterator):
            return BlockingIterator(made)
        raise TypeError(
            "blocking() wants an async function, or one that returns an async context manager or "
            f"an async iterator; {async_fn!r} returned {type(made).__name__}"
        )

    return call


class BlockingContext(Generic[T]):
    """An async context manager for ``with``."""

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager

    def __enter__(self) -> T:
        return _block(_result_of(self._manager.__aenter__))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return _block(_result_of(self._manager.__aexit__, kind, error, trace))


class BlockingIterator(Generic[T]):
    """An async iterator for ``for``."""

    def __init__(self, iterator: AsyncIterator[T]) -> None:
        self._iterator = iterator

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            return _block(_result_of(self._iterator.__anext__))
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Ends an async generator early, and runs its cleanup."""
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            _block(_result_of(aclose))


async def _result_of(method: Callable[..., Awaitable[T]], *args: object) -> T:
    """Calls a protocol method inside the run, and awaits what it gives, which need not be a coroutine.

    An async generator looks at its first ``__anext__()`` who will finalise it: that has to be the run.
    """
    return await method(*args)


def _block(coro: Coroutine[Any, Any, T]) -> T:
    try:
        chosen = surrounding_backend() or backend("threads")
    except BaseException:  # no such backend here: Python would complain about the coroutine, too
        coro.close()
        raise
    return chosen.block(coro)
