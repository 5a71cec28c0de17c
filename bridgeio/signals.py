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
def signals_call(host: Host, callback: Callable[[signal.Signals], None], *numbers: signal.Signals) -> Iterator[None]:
    """Calls back in the host's thread for each of these signals, and restores what was there before.

    Python runs signal handlers in the main thread only; in any other this does nothing.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(RuntimeError):  # the host has ended meanwhile
            host.call_soon_threadsafe(partial(callback, signal.Signals(number)))

    before: dict[signal.Signals, Any] = {}
    try:
        with contextlib.suppress(ValueError):  # not in the main thread
            for number in numbers:
                before[number] = signal.signal(number, on_signal)
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is on_signal:
                signal.signal(number, handler)
