"""Trio's cancel scopes and nurseries under the names of the contract."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, Final

import trio

from bridgeio.contract import NativeScope

__all__ = ["ASKS_WHY", "ScopeOfOldTrio", "TrioGroup", "has_deadline", "show_deadline"]

ASKS_WHY: Final = "reason" in inspect.signature(trio.CancelScope.cancel).parameters  # since Trio 0.31

# To Trio a deadline is two things: what a scope tells, and what stands on the list of the run. Its own setter
# changes both, for 15,000 instructions; who changes the first alone has to see to the second.
_TOLD: Any = getattr(trio.CancelScope, "_deadline", None)
_TELLS: Final = ASKS_WHY and inspect.isdatadescriptor(_TOLD) and hasattr(trio.CancelScope, "_registered_deadline")
show_deadline: Final[Any] = getattr(_TOLD, "__set__", None) if _TELLS else None  # the slot's own: no frame


def has_deadline(scope: Any) -> bool:
    """Whether it stands on the run's list: the scope is entered, not left, and not cancelled."""
    return bool(scope._registered_deadline != inf)


class ScopeOfOldTrio:
    """A `trio.CancelScope` that does not ask why it is cancelled. One that does has all that the core wants of a
    scope, and needs nothing around it."""

    __slots__ = ("_native",)

    def __init__(self, native: trio.CancelScope) -> None:
        self._native = native

    def __enter__(self) -> ScopeOfOldTrio:
        self._native.__enter__()
        return self

    def __exit__(self, *exc: Any) -> bool:
        return self._native.__exit__(*exc)

    def cancel(self, reason: str | None) -> None:
        self._native.cancel()

    @property
    def deadline(self) -> float:
        return self._native.deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._native.deadline = when

    @property
    def shield(self) -> bool:
        return self._native.shield

    @shield.setter
    def shield(self, value: bool) -> None:
        self._native.shield = value

    @property
    def cancel_called(self) -> bool:
        return self._native.cancel_called

    @property
    def cancelled_caught(self) -> bool:
        return self._native.cancelled_caught


class TrioGroup:
    """A nursery. Its children get their records when they first call bridgeio."""

    def __init__(self) -> None:
        # On a run that was started with strict_exception_groups=False too: bridgeio's groups are
        # the same everywhere.
        self._manager = trio.open_nursery(strict_exception_groups=True)
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> NativeScope:
        self._nursery = await self._manager.__aenter__()
        native: Any = self._nursery.cancel_scope
        return native if ASKS_WHY else ScopeOfOldTrio(native)

    async def __aexit__(self, *exc: Any) -> bool:
        try:
            return bool(await self._manager.__aexit__(*exc))
        except BaseExceptionGroup as group:
            failure = _without_cancellations(group)
        context = failure.__context__
        try:
            raise failure
        finally:
            failure.__context__ = context  # not the block's own error, which stands inside already
            del failure, context, exc  # the traceback holds this frame

    def start_soon(
        self, function: Callable[..., Coroutine[Any, Any, object]], args: tuple[Any, ...], name: str
    ) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(function, *args, name=name)

    async def start(
        self, function: Callable[..., Coroutine[Any, Any, object]], args: tuple[Any, ...], name: str
    ) -> Any:
        assert self._nursery is not None
        await trio.lowlevel.checkpoint_if_cancelled()
        ended = False

        async def note_its_end(*args: Any, task_status: trio.TaskStatus[Any]) -> None:
            nonlocal ended
            await function(*args, task_status=task_status)
            ended = True

        try:
            return await self._nursery.start(note_its_end, *args, name=name)
        except RuntimeError:
            if ended:  # without having started, and maybe because the caller was cancelled
                await trio.lowlevel.checkpoint_if_cancelled()
            raise


def _without_cancellations(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failures; or one cancellation, if there is nothing else: Trio wraps that too, and nobody
    who catches `trio.Cancelled` to clean up looks into groups."""
    cancellations, failures = group.split(trio.Cancelled)
    if failures is not None:
        return failures
    error: BaseException = group if cancellations is None else cancellations
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
