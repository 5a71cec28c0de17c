"""What the process does at a signal: taken over for those who listen, and given back in whatever order they end.

Rule 1: Python has one handler for each signal, so ours is one for all of ours, and calls everybody who listens.
Rule 2: it goes with the last of them, and what was there before comes back: Python's handler, and what the
system knew, for a C library may have told it behind Python's back, as gevent's watchers and `faulthandler` do.
Rule 3: who has put a handler over ours keeps it. If he puts ours back when nobody listens any more, it steps
aside at the first signal, which then takes its usual way.
Rule 4: nobody listens in a forked child: there, too, ours steps aside at the first signal.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

__all__ = ["Listening"]

Hear = Callable[[int], object]

_SIZE = 512  # bytes; more than any system's struct sigaction has
_POINTER = 8  # bytes, with which that begins: the address of the handler


class Listening:
    """One who listens to some signals, in the main thread, which is the only one that Python lets do it.

    :param hear: called with the number of each, in the main thread, between any two steps of anything: by the
        rules for signal handlers.
    """

    def __init__(self, hear: Callable[[int], object]) -> None:
        self._hear = hear
        self._handlers: list[_Handler] = []

    def begin(self, numbers: Iterable[int]) -> None:
        """:raises ValueError: in another thread than the main one; nothing has changed."""
        try:
            for number in numbers:
                self._handlers.append(_joined(number, self._hear))
        except BaseException:
            self.end()
            raise

    def end(self) -> set[int]:
        """May be called again. Returns those signals to which nobody else listens."""
        handlers, self._handlers = self._handlers, []
        for handler in handlers:
            handler.leave(self._hear)
        return {handler.number for handler in handlers if not handler.listeners}


class _Handler:
    """What Python is told to call for one signal.

    :ivar listeners: whom it calls.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.listeners: list[Hear] = []
        self._before: Any = signal.getsignal(number)
        self._action_before = _action(number)
        self._action = self._action_before
        self._process = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.listeners and os.getpid() == self._process:
            for hear in tuple(self.listeners):
                hear(number)
        elif self._is_pythons():
            self._step_aside()
            signal.raise_signal(number)
        elif callable(self._before):  # somebody's handler calls the one that it has found
            self._before(number, frame)

    def is_in_force(self) -> bool:
        """Also as the system sees it."""
        return self._is_pythons() and _is_the_same(_action(self.number), self._action)

    def join(self, hear: Hear) -> None:
        """The handler is set also where it is set already: that asks Python whether this thread may."""
        self.listeners.append(hear)
        try:
            signal.signal(self.number, self)
        except ValueError:
            self.listeners.remove(hear)
            raise
        self._action = _action(self.number)

    def leave(self, hear: Hear) -> None:
        self.listeners.remove(hear)
        if not self.listeners and self._is_pythons():
            self._step_aside()

    def _is_pythons(self) -> bool:
        found: object = signal.getsignal(self.number)
        return found is self

    def _step_aside(self) -> None:
        """Python's handler first, for setting that changes what the system knows, too."""
        now = _action(self.number)
        signal.signal(self.number, signal.SIG_DFL if self._before is None else self._before)
        _set_action(self.number, self._action_before if _is_the_same(now, self._action) else now)


def _joined(number: int, hear: Hear) -> _Handler:
    """Adds a listener to the handler in force, if that is ours, else to a new one over it."""
    found = signal.getsignal(number)
    handler = found if isinstance(found, _Handler) and found.is_in_force() else _Handler(number)
    handler.join(hear)
    return handler


# What the system knows. Only the system has to understand it, so it is kept as bytes.


def _action(number: int) -> bytes | None:
    """``None`` where Python was built without ctypes: then only Python's own handlers come back."""
    try:
        import ctypes
    except ImportError:
        return None
    found = ctypes.create_string_buffer(_SIZE)
    ctypes.CDLL(None).sigaction(number, None, found)
    return found.raw


def _set_action(number: int, action: bytes | None) -> None:
    if action is not None:
        import ctypes

        ctypes.CDLL(None).sigaction(number, action, None)


def _is_the_same(one: bytes | None, other: bytes | None) -> bool:
    return one is None or other is None or one[:_POINTER] == other[:_POINTER]
