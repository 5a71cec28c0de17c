"""Waiting until a descriptor that other code reads or writes is ready: a database driver's, a device's.

Rule 1: the watch is on a duplicate. The framework, or its users, may watch the same number in their own way,
and the number may become another file's while a task waits: neither meets ours.
Rule 2: who waits holds the file open, so `notify_closing` gives the duplicate back before it returns.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any, Protocol

from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Handle, Host, Task
from bridgeio.errors import BusyError, ClosedResourceError
from bridgeio.registry import running_host
from bridgeio.runvars import RunVar, kept_by
from bridgeio.unpatched import original

__all__ = ["HasFileno", "notify_closing", "wait_readable", "wait_writable"]

_READ, _WRITE = select.POLLIN, select.POLLOUT


class HasFileno(Protocol):
    """Anything with a descriptor: a socket, a file, a pipe."""

    def fileno(self) -> int: ...


async def wait_readable(obj: HasFileno | int, /) -> None:
    """Waits until the descriptor has something to read, is at its end, or has an error to tell.

    It may be anything that the system can poll; a regular file is always ready. What is there is for the caller to
    take, without blocking, and another may have been quicker. One task at a time waits for one descriptor and
    direction; `Reader` and others that the program has on the same file are not disturbed. A cancelled wait has
    changed nothing. Before a descriptor is closed for which a task may be waiting, call `notify_closing`.

    :param obj: what has a descriptor, or its number. TLS of the `ssl` module may hold bytes that a descriptor does
        not tell of.
    :raises TypeError: for what has none.
    :raises ValueError: for what is closed.
    :raises OSError: if the number is not an open descriptor, or the process may open no other.
    :raises BusyError: if another task waits for the same.
    :raises ClosedResourceError: if `notify_closing` is called meanwhile.
    """
    await _wait(obj, _READ)


async def wait_writable(obj: HasFileno | int, /) -> None:
    """Waits until the descriptor takes something to write, or has an error to tell; else as `wait_readable`."""
    await _wait(obj, _WRITE)


def notify_closing(obj: HasFileno | int, /) -> None:
    """Ends the waits of this run for a descriptor that is about to be closed, with `ClosedResourceError`.

    After it, nothing of bridgeio's is interested in the descriptor, so that closing it closes the file.
    Only from the run's thread.

    :raises TypeError: for what has no descriptor.
    :raises ValueError: for what is closed already.
    :raises NoBackendError: outside any framework.
    """
    fd = _number(obj)
    waits = kept_by(running_host(), _WAITS, dict)
    for direction in (_READ, _WRITE):
        if (fd, direction) in waits:
            waits[fd, direction].close()


async def _wait(obj: HasFileno | int, direction: int) -> None:
    task = await begin()
    fd = _number(obj)
    waits = kept_by(task.host, _WAITS, dict)
    if (fd, direction) in waits:
        raise BusyError(f"another task is already waiting until {_words(fd, direction)}")
    if _is_ready(fd, direction):
        await spend(task)
        return
    wait = waits[fd, direction] = _Wait(task, fd, direction)
    try:
        await wait.until_ready(task.host)
    finally:
        del waits[fd, direction]


class _Wait:
    """One task's for one direction of one descriptor."""

    def __init__(self, task: Task, fd: int, direction: int) -> None:
        self._task = task
        self._what = _words(fd, direction)
        self._closed = False
        self._reads = direction == _READ
        self._duplicate = os.dup(fd)
        self._watch: Handle | None = None

    async def until_ready(self, host: Host) -> None:
        try:
            self._watch = self._start(host.watch)
            await self._task.park(self._give_up)
        finally:
            self._end()
        if self._closed:
            raise ClosedResourceError(f"the descriptor was closed while a task waited until {self._what}")

    def close(self) -> None:
        self._closed = True
        self._end()
        self._task.wake()

    def doing(self, abort: object) -> str:
        return f"waiting until {self._what}"

    def _start(self, watch: Callable[..., Handle]) -> Handle:
        return watch(self._duplicate, *((self._ready, None) if self._reads else (None, self._ready)))

    def _ready(self) -> None:
        if self._watch is not None:  # the framework may have called before it knew that the wait is over
            self._end()
            self._task.wake()

    def _give_up(self) -> bool:
        return True

    def _end(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        fd, self._duplicate = self._duplicate, -1
        if fd >= 0:
            original("os", "close")(fd)


_WAITS: RunVar[dict[tuple[int, int], _Wait]] = RunVar("descriptors that tasks wait for")


def _number(obj: HasFileno | int) -> int:
    fileno: Any = getattr(obj, "fileno", None)
    fd = obj if fileno is None else fileno()
    if not isinstance(fd, int) or isinstance(fd, bool):
        raise TypeError(f"a descriptor is a number, or what has fileno(), not {obj!r}")
    if fd < 0:
        raise ValueError(f"{obj!r} is closed: it has no descriptor")
    return fd


def _is_ready(fd: int, direction: int) -> bool:
    """:raises OSError: if it is not open."""
    os.fstat(fd)
    looking = original("select", "poll")()
    looking.register(fd, direction)
    return any(not events & select.POLLNVAL for _, events in looking.poll(0))


def _words(fd: int, direction: int) -> str:
    return f"descriptor {fd} is {'readable' if direction == _READ else 'writable'}"
