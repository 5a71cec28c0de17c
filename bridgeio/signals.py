"""Signals for a program that owns its process."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

from bridgeio.contract import Host
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
    before: dict[signal.Signals, Any] = {}
    received = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received == times:
            restore()
        with contextlib.suppress(RuntimeError):  # the host has ended meanwhile
            host.call_soon_threadsafe(partial(callback, signal.Signals(number)))

    def restore() -> None:
        for number, handler in before.items():
            if signal.getsignal(number) is on_signal:
                signal.signal(number, handler)

    try:
        with contextlib.suppress(ValueError):  # not in the main thread
            for number in numbers:
                before[number] = signal.signal(number, on_signal)
        yield
    finally:
        restore()


@contextlib.contextmanager
def signals_wake(host: Host) -> Iterator[None]:
    """Has each signal wake the host, so that Python gets to run its handler.

    Python runs handlers between two steps of the main thread. A signal that comes just before a loop goes
    to sleep, or that the system gives to another thread, would else be handled at the loop's next event.
    Does nothing in another thread than the main one, or where somebody has seen to it, as Trio and uvloop do.
    """
    ours, pythons = os.pipe()
    try:
        os.set_blocking(ours, False)
        os.set_blocking(pythons, False)
        if not _signals_write_to(pythons):
            yield
            return
        watch = host.watch(ours, lambda: os.read(ours, 4096))
        try:
            yield
        finally:
            _signals_write_no_more_to(pythons)
            watch.cancel()
    finally:
        for fd in (ours, pythons):
            original("os", "close")(fd)  # a patched one waits for gevent's hub, which may be gone


def _signals_write_to(fd: int) -> bool:
    """Whether they do now: only the main thread can have it so, and whoever came first keeps it."""
    try:
        before = signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    except ValueError:
        return False
    if before != -1:
        signal.set_wakeup_fd(before)
    return before == -1


def _signals_write_no_more_to(fd: int) -> None:
    """Somebody may have taken it over, as ``loop.add_signal_handler`` of asyncio does."""
    now = signal.set_wakeup_fd(-1)
    if now != fd:
        signal.set_wakeup_fd(now)
