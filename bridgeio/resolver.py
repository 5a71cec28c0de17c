"""Asking the name service without holding up the loop."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from bridgeio.contract import AddressInfo, Host
from bridgeio.registry import current_task
from bridgeio.unpatched import original

__all__ = ["Resolver", "resolve", "resolve_in_thread"]

THREADS = 16  # name services are slow, and few can be asked more at once

Resolver = Callable[[str | None, int | str | None, int, int], Awaitable[list[AddressInfo]]]


async def resolve(
    host: str | None, port: int | str | None, *, flags: int = 0, resolver: Resolver | None = None
) -> list[AddressInfo]:
    """Stream addresses for a name; for a numeric address, without asking anybody.

    :raises socket.gaierror: with the name in its message.
    """
    try:
        with contextlib.suppress(socket.gaierror):
            return _getaddrinfo(host, port, 0, flags | socket.AI_NUMERICHOST)
        ask = resolver if resolver is not None else current_task().host.resolve
        return list(await ask(host, port, 0, flags))
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no valid host name") from error
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"{error.strerror} (resolve {host!r})") from error


async def resolve_in_thread(
    host: Host, name: str | None, port: int | str | None, family: int, flags: int
) -> list[AddressInfo]:
    """The default of `Host.resolve`: ``getaddrinfo`` in a thread that ends when nobody asks."""
    task = current_task()
    if task.scope.cancelled:
        await task.checkpoint_if_cancelled()
    answers: list[list[AddressInfo] | BaseException] = []
    given_up = False

    def answered(answer: list[AddressInfo] | BaseException) -> None:
        if not given_up:
            answers.append(answer)
            task.wake()

    def give_up() -> bool:
        """The thread ends by itself, and must not wake the task out of a later wait."""
        nonlocal given_up
        given_up = not answers
        return given_up

    def ask() -> None:
        answer: list[AddressInfo] | BaseException
        try:
            answer = _getaddrinfo(name, port, family, flags)
        except BaseException as error:
            answer = error
        with contextlib.suppress(RuntimeError):  # the host has ended: nobody waits
            host.call_soon_threadsafe(partial(answered, answer))

    _lookups.submit(ask)
    await task.park(give_up)
    answer = answers.pop()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _getaddrinfo(name: str | None, port: int | str | None, family: int, flags: int) -> list[AddressInfo]:
    found: list[Any] = original("socket", "getaddrinfo")(
        name, port, family=family, type=socket.SOCK_STREAM, flags=flags
    )
    return found


class _Lookups:
    """A few threads for the whole process, each of which ends when there is nothing left to do."""

    def __init__(self) -> None:
        self._lock = original("_thread", "allocate_lock")()
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0

    def submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._waiting.append(work)
            if self._threads >= THREADS:
                return
            self._threads += 1
        original("_thread", "start_new_thread")(self._run, ())

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                work = self._waiting.popleft()
            work()


_lookups = _Lookups()
