"""Ctrl-C in a run that owns the main thread.

Python raises KeyboardInterrupt between any two instructions of the main thread. In the user's code
that is what everybody expects. In the middle of a step of ours it would leave the baton or a queue
half changed, so there it is raised by the task's wait instead, this one or the next.

A signal that comes just before a wait begins does not end it: Python's handler runs when the wait is
over. So the interpreter is told to ring the bell of the lookout, and who is there rouses the main task.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from types import FrameType

from bridgeio.unpatched import get_ident
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.task import ThreadTask

__all__ = ["interrupts_strike"]


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
