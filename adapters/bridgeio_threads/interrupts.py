"""Ctrl-C in the main thread, in a run that owns it or in a call of `bridgeio.blocking`.

Python raises KeyboardInterrupt between any two instructions of the main thread. In the user's code
that is what everybody expects. In the middle of a step of ours it would leave the baton or a queue
half changed, so there it is raised by the task's wait instead, this one or the next.

A signal that comes just before a wait begins does not end it: Python's handler runs when the wait is
over. So in a run the interpreter is told to ring the bell of the lookout, and who is there rouses the main
task. For a single call that would cost too much, and is no worse than any blocking call of Python's.

There is one handler, and it finds out whose Ctrl-C it is when it comes: a call or a run may stand inside another's
blocking section, and a program may save the handler that it finds in one, and put it back whenever it likes.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType

from bridgeio.contract import Adapter
from bridgeio.unpatched import get_ident, original
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.task import ThreadTask

__all__ = ["InterruptsStrike", "signals_ring"]

# The module in C, whose functions `signal` wraps: there they make members of enumerations, for ten times as much.
_set_handler = original("_signal", "signal")
_handler_of = original("_signal", "getsignal")


class InterruptsStrike:
    """A block around a task's work, in which Ctrl-C is raised by one of its waits. What no wait has raised comes out of
    the block at its end.

    It hears of none in other threads, which get no signals, nor where the program has its own way with this one.
    """

    __slots__ = ("_error", "_hears", "_installed", "_task")

    def __init__(self) -> None:
        self._task: ThreadTask | None = None
        self._error: BaseException | None = None  # until the task is struck, or when no wait is to come
        self._hears = False
        self._installed = False

    def __enter__(self) -> InterruptsStrike:
        if get_ident() == threading.main_thread().ident:
            handler = _handler_of(signal.SIGINT)
            self._installed = handler is signal.default_int_handler
            self._hears = self._installed or handler is _on_interrupt
            if self._hears:
                _open.append(self)
            if self._installed:
                _set_handler(signal.SIGINT, _on_interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed and _handler_of(signal.SIGINT) is _on_interrupt:
            _set_handler(signal.SIGINT, signal.default_int_handler)
        if self._hears:
            _open.remove(self)
        if self._error is not None:
            raise self._error

    def begin(self, task: ThreadTask) -> None:
        """Its waits raise it from now on. The caller has the baton, as in `end`: only who has it strikes."""
        self._task = task
        self._strike()

    def end(self) -> None:
        task, self._task = self._task, None
        left = None if task is None else task.take_strike()
        self._error = self._error or left

    def hear(self) -> None:
        self._error = KeyboardInterrupt()
        if self._task is not None:
            self._task.host.baton.call_soon(self._strike)

    def _strike(self) -> None:
        if self._error is not None and self._task is not None:
            error, self._error = self._error, None
            self._task.strike(error)


_open: list[InterruptsStrike] = []  # in the main thread; the innermost is the last


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    if not (_open and _is_step_of_ours(frame)):
        raise KeyboardInterrupt
    _open[-1].hear()


@contextlib.contextmanager
def signals_ring(host: ThreadsHost, task: ThreadTask) -> Iterator[None]:
    """While the main thread runs a run's main task, no signal is slept through."""
    if get_ident() != threading.main_thread().ident:
        yield
        return
    host.lookout.listener = task.parking
    before = signal.set_wakeup_fd(host.lookout.bell.writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)


def _is_step_of_ours(frame: FrameType | None) -> bool:
    """Whether bridgeio is at work, perhaps by means of the standard library, and on threads: a run on another backend
    that was started inside is none of ours."""
    package = _package_of(frame)
    while frame is not None and package in sys.stdlib_module_names:
        frame = frame.f_back
        package = _package_of(frame)
    if package != "bridgeio" and not _is_adapter(package):
        return False
    while frame is not None and not _is_adapter(package):
        frame = frame.f_back
        package = _package_of(frame)
    return package == __package__


def _package_of(frame: FrameType | None) -> str:
    return "" if frame is None else str(frame.f_globals.get("__name__")).partition(".")[0]


def _is_adapter(package: str) -> bool:
    return isinstance(getattr(sys.modules.get(package), "ADAPTER", None), Adapter)
