"""The options of a run that are the same on every backend: a watchdog, and a dump of tasks on SIGUSR1."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import inf
from types import FrameType
from typing import Any

from bridgeio.contract import Host
from bridgeio.dumps import dump_tasks
from bridgeio.limits import check_seconds
from bridgeio.watchdog import watched

__all__ = ["ENVIRONMENT", "Oversight"]

ENVIRONMENT = "BRIDGEIO_DUMP_ON_SIGUSR1"


class Oversight:
    """What is asked for one run.

    :ivar rest: the options that are the backend's.
    """

    def __init__(self, options: Mapping[str, object]) -> None:
        """:raises TypeError: for a value of the wrong type.
        :raises ValueError: for a watchdog's limit that is no positive number of seconds.
        """
        self.rest = dict(options)
        self._limit = _checked_limit(self.rest.pop("watchdog", None))
        self._dump_on_signal = self.rest.pop("dump_on_signal", False)
        if not isinstance(self._dump_on_signal, bool):
            raise TypeError(f"dump_on_signal is True or False, not {self._dump_on_signal!r}")

    def around_tasks(self, host: Host) -> AbstractContextManager[None]:
        """To be entered in the run, by its main task."""
        return nullcontext() if self._limit is None else watched(host, self._limit)

    def around_run(self) -> AbstractContextManager[None]:
        """To be entered before the run, in its thread.

        :raises RuntimeError: in another thread than the main one, if the dump was asked for by option.
        """
        if self._dump_on_signal:
            return _dumping(insist=True)
        if os.environ.get(ENVIRONMENT) == "1":
            return _dumping(insist=False)
        return nullcontext()


def _checked_limit(limit: Any) -> float | None:
    if limit is None:
        return None
    check_seconds("watchdog", limit, positive=True)
    if limit == inf:
        raise ValueError("watchdog is a number of seconds, and not infinite: leave it out for none")
    return float(limit)


@contextmanager
def _dumping(*, insist: bool) -> Iterator[None]:
    """A block in which SIGUSR1 prints the tasks; what was there before is restored after it.

    :param insist: displaces a handler of the application's, and raises where Python takes no handler.
    """
    if not insist and signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL:
        yield
        return
    try:
        before = signal.signal(signal.SIGUSR1, _on_signal)
    except ValueError as error:
        if insist:
            raise RuntimeError(
                "dump_on_signal works in the main thread alone: Python takes signal handlers nowhere else"
            ) from error
        yield
        return
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGUSR1) is _on_signal:
            signal.signal(signal.SIGUSR1, before)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Python calls this between any two steps of the main thread; also in the midst of a print."""
    text = dump_tasks()
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except RuntimeError:  # a buffer refuses to be entered twice
        os.write(2, text.encode(errors="replace"))
