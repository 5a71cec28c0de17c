"""Asking the name service in threads of its own, because it can only be asked by waiting."""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from bridgeio.threadcache import Tell, Work, cache
from bridgeio.unpatched import original

__all__ = ["AddressInfo", "getaddrinfo", "getnameinfo", "look_up_in_thread"]

THREADS = 16  # name services are slow, and few can be asked more at once

T = TypeVar("T")
AddressInfo = tuple[int, int, int, str, Any]


class Parked(Protocol):
    """What is needed of the task that waits for the answer."""

    def park(self, abort: Callable[[], bool]) -> Any: ...
    def wake(self) -> None: ...


def getaddrinfo(
    name: str | None,
    port: int | str | None,
    family: int,
    flags: int,
    kind: int = socket.SOCK_STREAM,
    proto: int = 0,
) -> list[AddressInfo]:
    """`socket.getaddrinfo`, unpatched."""
    ask = original("socket", "getaddrinfo")
    found: list[AddressInfo] = ask(name, port, family=family, type=kind, proto=proto, flags=flags)
    return found


def getnameinfo(address: Any, flags: int) -> tuple[str, str]:
    """`socket.getnameinfo`, unpatched."""
    found: tuple[str, str] = original("socket", "getnameinfo")(address, flags)
    return found


async def look_up_in_thread(
    task: Parked,
    call_soon_threadsafe: Callable[[Callable[[], None]], object],
    question: Callable[[], T],
) -> T:
    """Has a thread ask, and parks the task meanwhile. A cancel gives the answer up, not the asking."""
    lookup: _Lookup[T] = _Lookup(task)

    def ask() -> Tell:
        answer: T | BaseException
        try:
            answer = question()
        except BaseException as error:
            answer = error
        return partial(_tell, call_soon_threadsafe, partial(lookup.answered, answer))

    _lookups.submit(ask)
    await task.park(lookup.give_up)
    answer = lookup.answers.pop()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _tell(call_soon_threadsafe: Callable[[Callable[[], None]], object], answered: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the host has ended: nobody waits
        call_soon_threadsafe(answered)


class _Lookup(Generic[T]):
    """One task's wait for an answer."""

    def __init__(self, task: Parked) -> None:
        self.answers: list[T | BaseException] = []
        self._task = task
        self._given_up = False

    def answered(self, answer: T | BaseException) -> None:
        if not self._given_up:
            self.answers.append(answer)
            self._task.wake()

    def give_up(self) -> bool:
        """The thread ends by itself, and must not wake the task out of a later wait."""
        self._given_up = not self.answers
        return self._given_up

    def doing(self, abort: object) -> str:
        return "waiting for the name service"


class _Lookups:
    """A few threads for the whole process: what comes when they are all busy waits until one is not."""

    def __init__(self) -> None:
        self._start_anew()
        self._knows_of_forks = False

    def submit(self, ask: Work) -> None:
        """:raises OSError: if the system gives no thread."""
        if not self._knows_of_forks:
            self._knows_of_forks = True
            os.register_at_fork(after_in_child=self._start_anew)
        with self._lock:
            self._waiting.append(ask)
            if self._threads >= THREADS:
                return
            self._threads += 1
        try:
            cache.start(self._work)
        except OSError:
            if not self._take_back(ask):
                raise

    def _start_anew(self) -> None:
        """Threads do not survive a fork, and a lock may have been held by one."""
        self._lock = original("_thread", "allocate_lock")()
        self._waiting: deque[Work] = deque()
        self._threads = 0

    def _take_back(self, ask: Work) -> bool:
        """No thread was to be had; whether those there are will come to it all the same."""
        with self._lock:
            self._threads -= 1
            if self._threads or ask not in self._waiting:
                return True
            self._waiting.remove(ask)
            return False

    def _work(self) -> Tell:
        tell: Tell | None = None
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return tell or _nothing_to_tell
                ask = self._waiting.popleft()
            if tell is not None:
                tell()
            tell = ask()


def _nothing_to_tell() -> None:
    """Another thread was faster."""


_lookups = _Lookups()
