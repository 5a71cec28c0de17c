"""Starting a task in the framework's own way, beside a group of ours that waits for it, and cancelling it so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from importlib import import_module
from typing import Any

import bridgeio

__all__ = ["STARTS"]

Work = Callable[[], Coroutine[Any, Any, None]]
Cancel = Callable[[], object]


def start_on_asyncio(group: bridgeio.TaskGroup, work: Work) -> Cancel:
    task = asyncio.ensure_future(work())

    async def join() -> None:
        with suppress(asyncio.CancelledError):
            await task

    group.start_soon(join)
    return task.cancel


def start_on_trio(group: bridgeio.TaskGroup, work: Work) -> Cancel:
    scope = import_module("trio").CancelScope()

    async def carry() -> None:
        with scope:
            await work()

    group.start_soon(carry)
    return scope.cancel  # type: ignore[no-any-return]


def start_on_twisted(group: bridgeio.TaskGroup, work: Work) -> Cancel:
    deferred = import_module("bridgeio_twisted").as_deferred(work())

    async def join() -> None:
        with suppress(import_module("twisted.internet.defer").CancelledError):
            await deferred

    group.start_soon(join)
    return deferred.cancel  # type: ignore[no-any-return]


def start_on_gevent(group: bridgeio.TaskGroup, work: Work) -> Cancel:
    strand = import_module("bridgeio_gevent").spawn(work)

    async def join() -> None:
        strand.join()

    group.start_soon(join)
    return lambda: strand.kill(block=False)


STARTS: dict[str, Callable[[bridgeio.TaskGroup, Work], Cancel]] = {
    "asyncio": start_on_asyncio,
    "uvloop": start_on_asyncio,
    "tornado": start_on_asyncio,
    "trio": start_on_trio,
    "twisted": start_on_twisted,
    "gevent": start_on_gevent,
}
