"""What a test that hangs was waiting for: printed before anything of it is undone."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

import bridgeio
from bridgeio.contract import Host
from bridgeio.registry import current_host
from bridgeio.tasks import hosts

__all__ = ["ended_after", "show_tasks", "show_tasks_at_alarm"]


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """A block of a task's that is cancelled after that time, and then is a `TimeoutError`; the tasks are
    printed first. A deadline of the scope's own would leave it to chance which of the two comes first."""
    host = current_host()
    scope = bridgeio.fail_after(None)
    try:
        with scope:
            timer = host.timers.add(host.now() + seconds, partial(_end, scope, host))
            try:
                yield
            finally:
                timer.cancel()
    except TimeoutError as error:
        if not scope.cancelled_caught:
            raise
        words = f"the test has not ended after {seconds:g} seconds (--bridgeio-timeout); stderr has its tasks"
        raise TimeoutError(words) from error.__cause__


def _end(scope: bridgeio.CancelScope, host: Host) -> None:
    show_tasks()
    scope.deadline = host.now()


def show_tasks() -> None:
    """Prints the dump to stderr, which pytest shows with the failure; nothing, if there are no tasks."""
    if any(host.census() for host in hosts()):
        bridgeio.dump_tasks(sys.stderr)


def show_tasks_at_alarm() -> None:
    """Has the handler of SIGALRM, which pytest-timeout has just set, print them before it does its own."""
    handler = signal.getsignal(signal.SIGALRM)
    if not callable(handler):
        return

    def show_and_go_on(number: int, frame: FrameType | None) -> None:
        show_tasks()
        handler(number, frame)

    signal.signal(signal.SIGALRM, show_and_go_on)
