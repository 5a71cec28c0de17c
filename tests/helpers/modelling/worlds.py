"""The words in which the interpreter speaks to a library, and bridgeio's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import hypothesis
import trio._core._run as trio_run

import bridgeio
from bridgeio.testing.virtual_time import run_in_virtual_time

__all__ = ["LOCKS", "Bridge", "Scope", "World", "trio_in_the_same_order"]


class Scope(Protocol):
    deadline: float
    shield: bool

    @property
    def cancel_called(self) -> bool: ...
    @property
    def cancelled_caught(self) -> bool: ...
    def cancel(self) -> None: ...


class World(Protocol):
    """What a program needs."""

    def run(self, main: Callable[[], Awaitable[None]]) -> None: ...
    def now(self) -> float: ...
    def cancelled(self) -> type[BaseException]: ...
    async def sleep(self, seconds: float, /) -> None: ...
    async def checkpoint(self) -> None: ...
    def new_scope(self, deadline: float, shield: bool, fails: bool) -> Any: ...
    def entered(self, scope: Any) -> Any: ...
    def new_group(self) -> Any: ...
    def scope_of(self, group: Any) -> Any: ...
    def entered_group(self, group: Any) -> Any: ...
    def new_event(self) -> Any: ...
    def new_lock(self, kind: str) -> Any: ...
    async def wait_for_notice(self, condition: Any, /) -> None: ...
    def new_barrier(self) -> Any: ...
    def new_channel(self, room: int) -> Any: ...
    def new_queue(self, maxsize: int) -> Any: ...


@contextmanager
def trio_in_the_same_order() -> Iterator[None]:
    """Trio shuffles tasks that are ready together. Here hypothesis throws the dice, so that a program that fails fails
    again. (Trio keeps these names for its own tests; there is no public one.)"""
    run: Any = trio_run
    before, run._ALLOW_DETERMINISTIC_SCHEDULING = run._ALLOW_DETERMINISTIC_SCHEDULING, True
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = before


hypothesis.register_random(trio_run._r)


LOCKS: dict[str, Callable[[Any], Any]] = {
    "l": lambda library: library.Lock(),
    "s": lambda library: library.Semaphore(2),
    "n": lambda library: library.CapacityLimiter(1),
    "c": lambda library: library.Condition(),
}
"""By the first letter of their names; both libraries call them the same."""


class Bridge:
    """A backend of bridgeio's."""

    def __init__(self, backend: str, options: Any = None) -> None:
        self._backend = backend
        self._options = options

    def run(self, main: Callable[[], Any]) -> None:
        with trio_in_the_same_order():
            run_in_virtual_time(main, backend=self._backend, backend_options=self._options)

    now = staticmethod(bridgeio.current_time)
    cancelled = staticmethod(bridgeio.get_cancelled_exc_class)
    sleep = staticmethod(bridgeio.sleep)
    checkpoint = staticmethod(bridgeio.lowlevel.checkpoint)
    new_group = staticmethod(bridgeio.create_task_group)
    new_event = bridgeio.Event

    def new_scope(self, deadline: float, shield: bool, fails: bool) -> Any:
        return (bridgeio.fail_at if fails else bridgeio.move_on_at)(deadline, shield=shield)

    def entered(self, scope: Any) -> Any:
        return scope

    def scope_of(self, group: Any) -> Any:
        return group.cancel_scope

    def entered_group(self, group: Any) -> Any:
        return group

    def new_lock(self, kind: str) -> Any:
        return LOCKS[kind](bridgeio)

    async def wait_for_notice(self, condition: bridgeio.Condition) -> None:
        await condition.wait()

    def new_barrier(self) -> Any:
        return bridgeio.Barrier(2)

    def new_channel(self, room: int) -> Any:
        return bridgeio.create_memory_object_stream[str](room)

    def new_queue(self, maxsize: int) -> Any:
        return bridgeio.Queue[str](maxsize)
