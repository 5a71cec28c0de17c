"""Where one thread waits until the baton is handed to it: a pipe with one byte in it, or none.

A lock would do, and cost half as much again for each change of threads. Python's locks are woken as soon as they are
released, on another processor, while who releases still has the interpreter's own lock: who was woken sleeps
once more, for that. Of a pipe the kernel knows that its writer is about to sleep itself, and wakes the reader where
the writer has run.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress

from bridgeio.unpatched import original

__all__ = ["Gate"]


class Gate:
    """Opened by one thread for another, which owns it.

    The byte is read into a place of ours. What a call returns is lost if a signal handler raises just then, and
    whether the byte was taken is the one thing to be certain of: one that stays behind would pass for the baton.

    :raises OSError: when there are no descriptors left.
    """

    __slots__ = ("_reader", "_taken", "_writer")

    def __init__(self) -> None:
        self._taken = bytearray(1)
        self._reader, self._writer = _one_for_both(*os.pipe())

    def open(self) -> None:
        os.write(self._writer, b"\1")

    def wait(self, interrupted: Callable[[], object] | None = None) -> None:
        """Until the baton is handed over. What a signal handler raises meanwhile is raised after.

        :param interrupted: called when that happens, without the baton.
        """
        try:
            os.readv(self._reader, (self._taken,))
        except BaseException:
            self._wait_on(interrupted)
            raise
        finally:
            self._taken[0] = 0

    def wait_for(self, seconds: float) -> bool:
        """Waits that long at most; whether the baton was handed over."""
        poll = original("select", "poll")()
        poll.register(self._reader, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
        self.wait()
        return True

    def _wait_on(self, interrupted: Callable[[], object] | None) -> None:
        if interrupted is not None and not self._taken[0]:
            interrupted()
        while not self._taken[0]:
            try:
                os.readv(self._reader, (self._taken,))
            except BaseException:
                continue  # one is on its way already

    def close(self) -> None:
        reader, self._reader = self._reader, -1
        if reader >= 0:
            os.close(reader)
            if reader != self._writer:
                os.close(self._writer)

    def __del__(self) -> None:
        with suppress(AttributeError):  # there was no descriptor left for it
            self.close()


def _one_for_both(reader: int, writer: int) -> tuple[int, int]:
    """Ten thousand threads need ten thousand descriptors, and not twice as many, where one can be had for both ends."""
    try:
        both = os.open(f"/proc/self/fd/{reader}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return reader, writer
    os.close(reader)
    os.close(writer)
    return both, both
