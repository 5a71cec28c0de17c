"""Signals for a program that owns its process."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

from bridgeio.contract import Host

__all__ = ["signals_call"]


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
