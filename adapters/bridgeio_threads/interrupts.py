"""Ctrl-C in the main thread, in a run that owns it or in a call of `bridgeio.blocking`.

Python raises KeyboardInterrupt between any two instructions of the main thread. In the user's code
that is what everybody expects. In the middle of a step of ours it would leave the baton or a queue
half changed, so there it is raised by the task's wait instead, this one or the next.

A signal that comes just before a wait begins does not end it: Python's handler runs when the wait is
over. So in a run the interpreter is told to ring the bell of the lookout, and who is there rouses the main
task. For a single call that would cost too much, and is no worse than any blocking call of Python's.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from types import FrameType, TracebackType

from bridgeio.unpatched import get_ident, original
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.task import ThreadTask

__all__ = ["InterruptsStrike", "interrupts_strike"]

# The module in C, whose functions `signal` wraps: there they make members of enumerations, for ten times as much.
_set_handler = original("_signal", "signal")
_handler_of = original("_signal", "getsignal")


@contextlib.contextmanager
def interrupts_strike(host: ThreadsHost, task: ThreadTask) -> Iterator[None]:
    """While the main task runs in the main thread. Does nothing in any other, which gets no signals."""
    if get_ident() != threading.main_thread().ident:
        yield
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if not _is_ours(frame):
            raise KeyboardInterrupt
        host.baton.call_soon(partial(task.strike, KeyboardInterrupt()))

    host.lookout.listener = task.parking
    before = signal.set_wakeup_fd(host.lookout.bell.writer, warn_on_full_buffer=False)
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else the program has its own way
    if ours:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        if ours and signal.getsignal(signal.SIGINT) is on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(before)


class InterruptsStrike:
    """The same for one call of `bridgeio.blocking`: what Ctrl-C raises comes out of it when it is over at the latest.

    :ivar task: the call's, once it is known.
    """

    __slots__ = ("_error", "_installed", "task")

    def __init__(self) -> None:
        self.task: ThreadTask | None = None
        self._error: KeyboardInterrupt | None = None
        self._installed = False

    def __enter__(self) -> InterruptsStrike:
        if get_ident() == threading.main_thread().ident:
            if _handler_of(signal.SIGINT) is signal.default_int_handler:
                self._installed = True
                _set_handler(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._installed:
            return
        if _handler_of(signal.SIGINT) == self._on_interrupt:
            _set_handler(signal.SIGINT, signal.default_int_handler)
        mine, self._error = self._error, None
        if mine is not None and mine is not error:
            if self.task is not None:
                self.task.spare(mine)
            raise mine

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if not _is_ours(frame):
            raise KeyboardInterrupt
        self._error = KeyboardInterrupt()
        if self.task is not None:
            self.task.host.baton.call_soon(self._strike)

    def _strike(self) -> None:
        if self._error is not None and self.task is not None:
            self.task.strike(self._error)


def _is_ours(frame: FrameType | None) -> bool:
    """Whether bridgeio is at work, perhaps by means of the standard library."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == "bridgeio" or package.startswith("bridgeio_"):
            return True
        if package not in sys.stdlib_module_names:
            return False
        frame = frame.f_back
    return False
