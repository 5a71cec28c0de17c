"""Child processes beside libev, which takes the exit code of every child once it watches for any."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import gevent

from bridgeio.contract import Handle, OnExit, never
from bridgeio.unpatched import original

if TYPE_CHECKING:
    from bridgeio_gevent.host import GeventHost
    from bridgeio_gevent.task import GeventTask

__all__ = ["Ending", "started"]

LOOKS = 3  # at a child that has ended, until libev's word of that is late
BETWEEN = 0.01  # seconds; libev has a turn meanwhile


async def started(task: GeventTask, arguments: Mapping[str, Any]) -> Any:
    """A ``Popen`` of gevent's. It waits until the program runs, and whoever cancels the task must not end it
    there: so it does that in a greenlet of its own."""
    from gevent.subprocess import Popen

    outcome: list[Any] = []

    def start() -> None:
        try:
            outcome.append(Popen(**arguments))
        except BaseException as error:
            outcome.append(error)
        task.wake()

    gevent.spawn(start)
    await task.park(never)
    popen = outcome.pop()
    if isinstance(popen, BaseException):
        raise popen
    return popen


class Ending:
    """The end of a child, told once: by libev, or by the pidfd where libev never will.

    Whoever installs a handler of its own for SIGCHLD, as Twisted and uvloop do, leaves libev without word: then the
    exit code is still there to take. If somebody has taken that, too, it is lost.
    """

    def __init__(self, host: GeventHost, popen: Any, on_exit: OnExit) -> None:
        self._host = host
        self._popen = popen
        self._on_exit: OnExit | None = on_exit
        self._watch: Handle | None = None
        self._fd = -1
        host.endings.add(self)
        popen.rawlink(lambda ended: host.turn(self._tell))
        with suppress(AttributeError, OSError):  # no pidfd here, or no descriptor left
            self._fd = os.pidfd_open(popen.pid)
            self._watch = host.watch(self._fd, self._is_due)

    def close(self) -> None:
        """Of the run; or the pidfd has said what it can."""
        self._host.endings.discard(self)
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            original("os", "close")(fd)

    def _tell(self) -> None:
        on_exit, self._on_exit = self._on_exit, None
        self.close()
        if on_exit is not None:
            on_exit(self._popen.returncode)

    def _is_due(self) -> None:
        self.close()
        self._look_later(LOOKS)

    def _look_later(self, looks: int) -> None:
        self._host.timers.add(self._host.now() + BETWEEN, partial(self._look, looks))

    def _look(self, looks: int) -> None:
        if self._on_exit is None:
            return
        if self._popen.returncode is None and looks:
            self._look_later(looks - 1)
        else:
            self._take()
            self._tell()

    def _take(self) -> None:
        if self._popen.returncode is None:
            with suppress(ChildProcessError):
                _, status = original("os", "waitpid")(self._popen.pid, 0)
                self._popen.returncode = os.waitstatus_to_exitcode(status)
