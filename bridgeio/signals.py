"""Signals on their way to a host: handed to its thread, and waking it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial

from bridgeio.contract import Host
from bridgeio.dispositions import Listening
from bridgeio.unpatched import original

__all__ = ["signals_call", "signals_wake"]


@contextlib.contextmanager
def signals_call(
    host: Host, callback: Callable[[signal.Signals], None], *numbers: signal.Signals, times: int | None = None
) -> Iterator[None]:
    """Calls back in the host's thread for each of these signals, and restores what was there before.

    Python runs signal handlers in the main thread only; in any other this does nothing.

    :param times: restores it also after so many signals. The callback could not: it may run in another
        thread, and Python takes handlers in the main one only.
    """
    received = 0

    def hear(number: int) -> None:
        nonlocal received
        received += 1
        if received == times:
            listening.end()
        with contextlib.suppress(RuntimeError):  # the host has ended meanwhile
            host.call_soon_threadsafe(partial(callback, signal.Signals(number)))

    listening = Listening(hear)
    with contextlib.suppress(ValueError):  # not in the main thread
        listening.begin(numbers)
    try:
        yield
    finally:
        listening.end()


@contextlib.contextmanager
def signals_wake(host: Host) -> Iterator[None]:
    """Has each signal wake the host, so that Python gets to run its handler.

    Python runs handlers between two steps of the main thread. A signal that comes just before a loop goes
    to sleep, or that the system gives to another thread, would else be handled at the loop's next event.
    Does nothing in another thread than the main one, or where somebody has seen to it, as Trio and uvloop do.
    Blocks for one host share what they need, and may be left in any order.
    """
    bell = _bells.get(host) or _Bell(host)
    bell.users += 1
    try:
        if bell.ring_at_signals():
            _bells[host] = bell
        yield
    finally:
        bell.users -= 1
        if not bell.users:
            _bells.pop(host, None)
            bell.stop()


class _Bell:
    """What Python writes to at each signal: a descriptor of the host's own, or a pipe that the host watches.

    :ivar users: how many blocks need it.
    """

    def __init__(self, host: Host) -> None:
        self.users = 0
        self._host = host
        self._held: contextlib.ExitStack | None = None

    def ring_at_signals(self) -> bool:
        """Whether it does now."""
        if self._held is None:
            with contextlib.ExitStack() as held:
                if self._has_signals_ring(held):
                    self._held = held.pop_all()
        return self._held is not None

    def stop(self) -> None:
        if self._held is not None:
            self._held.close()

    def _has_signals_ring(self, held: contextlib.ExitStack) -> bool:
        hosts_own = held.enter_context(self._host.signal_bell())
        ours, pythons = held.enter_context(_pipe()) if hosts_own is None else (None, hosts_own)
        if not _signals_write_to(pythons, ours):
            return False
        held.callback(_signals_write_no_more_to, pythons)
        if ours is not None:
            held.callback(self._host.watch(ours, partial(os.read, ours, 4096)).cancel)
        return True


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    pipe = os.pipe()
    try:
        for fd in pipe:
            os.set_blocking(fd, False)
        yield pipe
    finally:
        for fd in pipe:
            original("os", "close")(fd)  # a patched one waits for gevent's hub, which may be gone


_bells: dict[Host, _Bell] = {}
"""Those that ring; written to in the main thread only."""


def _signals_write_to(fd: int, read_from: int | None) -> bool:
    """Whether they do now: only the main thread can have it so, and whoever came first keeps it.

    There is no way to ask who that is without taking his place. What is written meanwhile is handed on: it may
    be all that asyncio hears of a signal. And whether he wanted to be told of a full pipe nobody knows: Trio does
    not, and would be told of nothing that matters.
    """
    try:
        before = signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    except ValueError:
        return False
    if before == -1:
        return True
    signal.set_wakeup_fd(before, warn_on_full_buffer=False)
    if read_from is not None:
        with contextlib.suppress(BlockingIOError):
            os.write(before, os.read(read_from, 4096))
    return False


def _signals_write_no_more_to(fd: int) -> None:
    """Somebody may have taken it over, as ``loop.add_signal_handler`` of asyncio does."""
    now = signal.set_wakeup_fd(-1)
    if now != fd:
        signal.set_wakeup_fd(now, warn_on_full_buffer=False)
