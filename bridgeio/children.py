"""Child processes: starting one, and noticing its end without SIGCHLD, in any thread.

Rule 1: only the status of a child of ours is asked for, never any child's: asyncio, Twisted and others have
children of their own in this process.
Rule 2: it is asked for as soon as the child has ended, whether or not anybody waits: no zombie stays.
Rule 3: if somebody else has taken it (``os.wait``, ``waitpid(-1)``, SIGCHLD ignored) it is lost, and none is
made up. `subprocess.Popen` would say 0 then, so only its start is used.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from bridgeio.poller import Poller
from bridgeio.timers import Handle
from bridgeio.unpatched import original

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["is_child", "reap", "start_child"]

OnExit = Callable[[int | None], object]  # as in `bridgeio.contract`, which stands above this room


class ChildHost(Protocol):
    """What is needed of a host whose process gets a child."""

    def poller(self) -> Poller: ...
    def call_soon_threadsafe(self, callback: Callable[[], None]) -> object: ...
    def watch(
        self, fd: int, on_readable: Callable[[], object] | None, on_writable: Callable[[], object] | None = None
    ) -> Handle: ...


def start_child(host: ChildHost, arguments: Mapping[str, Any], on_exit: OnExit) -> int:
    """Starts `subprocess.Popen` with these arguments, in place, and calls back once when it has ended.

    :returns: the process id.
    :raises OSError: what ``Popen`` raises, or if the system has nothing left to watch the child with.
    :raises RuntimeError: in another thread than the main one, if gevent has patched ``Popen``.
    """
    from subprocess import Popen

    if Popen is not original("subprocess", "Popen"):
        _check_main_thread()
    child = _Child(Popen(**arguments), on_exit)
    try:
        _watch(host, child)
    except BaseException:
        os.kill(child.pid, signal.SIGKILL)
        child.collect(0)
        raise
    return child.pid


def _check_main_thread() -> None:
    """gevent's ``Popen`` would fail elsewhere when it has started the program already. The plain one does not work
    any more, because it needs what was patched."""
    from threading import main_thread

    if main_thread().native_id != original("_thread", "get_native_id")():
        raise RuntimeError("gevent has patched subprocess, and starts processes in the main thread alone")


def is_child(pid: int) -> bool:
    """Whether the number is still the child's, so that a signal reaches nobody else."""
    try:
        waitid = os.waitid
    except AttributeError:
        return True  # there is no way to ask
    try:
        waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap(pid: int, options: int) -> tuple[bool, int | None]:
    """Whether a child of ours has ended, and its exit code: ``None`` if somebody else has taken it.

    :param options: of ``waitpid``: `os.WNOHANG`, or 0 to wait.
    """
    try:
        ended, status = original("os", "waitpid")(pid, options)
    except ChildProcessError:
        return True, None
    return ended != 0, os.waitstatus_to_exitcode(status) if ended else None


class _Child:
    """One that was started, until its status is known."""

    def __init__(self, popen: Popen[Any], on_exit: OnExit) -> None:
        self.pid = popen.pid
        self._popen = popen  # it goes to the standard library's list of children if the run is over before it
        self._on_exit = on_exit
        self._told = False
        self._lost = False

    def collect(self, options: int) -> bool:
        """Takes the status, if it has ended; whether it is known or lost now."""
        if self._popen.returncode is None:
            ended, code = reap(self.pid, options)
            if ended:
                self._lost = code is None
                self._popen.returncode = code or 0  # of a lost one, too: nobody is to look for it again
        return self._popen.returncode is not None

    def tell(self) -> None:
        if not self._told:
            self._told = True
            self._on_exit(None if self._lost else self._popen.returncode)


def _watch(host: ChildHost, child: _Child) -> None:
    try:
        fd = os.pidfd_open(child.pid)
    except (AttributeError, OSError):  # not on this platform, or in this sandbox, or no descriptor left
        _ExitThread(host, child)
    else:
        ExitSource(host, fd, child)


class ExitSource:
    """A pidfd behind the poller: readable when the child has ended."""

    level_triggered = False

    def __init__(self, host: ChildHost, fd: int, child: _Child) -> None:
        self.fd = fd
        self.registered = False
        self._child = child
        self._watch: Handle | None = None
        self._poller = host.poller()
        try:
            self._poller.register(self)
            if self._poller.arms_each_wait:  # and nobody may be waiting
                self._watch = host.watch(fd, self._look)
        except BaseException:
            self.close()
            raise

    def on_event(self, events: int) -> None:
        self._look()

    def abandon(self) -> None:
        """After a fork: it is the parent's child."""
        self.registered = False

    def end(self) -> None:
        """The run is over; if the child is, too, this is the last chance to say so."""
        ended = self._child.collect(os.WNOHANG)
        self.close()
        if ended:
            self._child.tell()

    def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
        self._poller.unregister(self)
        fd, self.fd = self.fd, -1
        if fd >= 0:
            original("os", "close")(fd)

    def _look(self) -> None:
        if self.registered and self._child.collect(os.WNOHANG):
            self.close()
            self._child.tell()


class _ExitThread:
    """A thread that sleeps until the child has ended, where nothing can be watched for that."""

    def __init__(self, host: ChildHost, child: _Child) -> None:
        self._host = host
        self._child = child
        try:
            original("_thread", "start_new_thread")(self._run, ())
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no descriptor and no thread left to wait for a process with") from error

    def _run(self) -> None:
        self._sleep()
        try:
            self._host.call_soon_threadsafe(self._look)
        except RuntimeError:  # the host has ended: nobody is to be told
            self._child.collect(os.WNOHANG)

    def _sleep(self) -> None:
        """Leaves the status where it is, if it can: the number stays the child's until the host knows."""
        if not hasattr(os, "waitid"):
            self._child.collect(0)
            return
        try:
            os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return  # the host will find out the same

    def _look(self) -> None:
        if self._child.collect(os.WNOHANG):
            self._child.tell()
