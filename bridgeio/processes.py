"""Other programs: starting them, talking to them, and not leaving any behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from bridgeio.buffers import Bytes, flat
from bridgeio.checkpoints import begin, spend
from bridgeio.children import is_child
from bridgeio.commands import (
    PIPE,
    Command,
    Ends,
    Path,
    Stream,
    check_streams,
    checked_command,
    program_of,
)
from bridgeio.contract import Host, Task
from bridgeio.errors import SharedBetweenRunsError
from bridgeio.groups import create_task_group
from bridgeio.limits import LIMIT, TERMINATION_GRACE, check_seconds, check_size
from bridgeio.pipes import PipeSource
from bridgeio.reader import Reader
from bridgeio.registry import current_task
from bridgeio.streams import writer_over
from bridgeio.waiters import Line
from bridgeio.writer import Writer

if TYPE_CHECKING:
    from subprocess import CompletedProcess

__all__ = ["Process", "open_process", "run_process"]


async def open_process(
    command: Command,
    *,
    stdin: Stream = PIPE,
    stdout: Stream = PIPE,
    stderr: Stream = PIPE,
    pty: bool = False,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    start_new_session: bool = False,
    process_group: int | None = None,
    pass_fds: Sequence[int] = (),
    user: str | int | None = None,
    group: str | int | None = None,
    extra_groups: Iterable[str | int] | None = None,
    umask: int = -1,
    limit: int = LIMIT,
    grace: float = TERMINATION_GRACE,
) -> Process:
    """Starts a program, as `subprocess.Popen` does with the same arguments.

    ``async with await open_process(...) as process:`` leaves no process behind, whatever happens in the block.
    Without the block that is the caller's business. A cancel comes before the start or not at all: it never
    leaves a process that nobody has.

    The program is started in place: on Linux that takes some tenths of a millisecond, in which the loop
    stands still; with ``user``, ``group`` or ``extra_groups`` the longer the larger this process is.

    :param command: a sequence is a program and its arguments, a path alone a program without any; text is a
        command for the shell.
    :param stdin: ``subprocess.PIPE`` for `Process.stdin`, ``DEVNULL``, a descriptor or a file; ``None``: this
        process's own.
    :param stdout: the same for `Process.stdout`.
    :param stderr: the same for `Process.stderr`; ``subprocess.STDOUT`` sends it where ``stdout`` goes.
    :param pty: the three are one pseudo-terminal instead: what is written to `Process.stdin` is typed, and
        `Process.stdout` is what is shown, the echo of that included. It is no controlling terminal: use
        `Process.send_signal` instead of typing Ctrl-C.
    :param cwd: the directory to start it in.
    :param env: its environment, if not this process's.
    :param start_new_session: it leads a session, and with that a process group.
    :param process_group: the group to join; 0 for one of its own.
    :param pass_fds: descriptors to keep open in it.
    :param limit: bytes that ``readuntil`` may buffer on its output.
    :param grace: seconds that it gets to end between SIGTERM and SIGKILL; see `Process.aclose`.
    :raises OSError: `FileNotFoundError` if there is no such program or directory, `PermissionError`, and others.
    :raises ValueError: for arguments that contradict each other.
    :raises TypeError: for others than these.
    """
    if pty and (stdin, stdout, stderr) != (PIPE, PIPE, PIPE):
        raise ValueError("with pty=True the terminal is stdin, stdout and stderr: give none of them")
    check_streams(stdin=stdin, stdout=stdout, stderr=stderr)
    arguments = {
        "args": (checked := checked_command(command)),
        "shell": isinstance(command, str | bytes),
        "cwd": cwd,
        "env": env,
        "start_new_session": start_new_session,
        "process_group": process_group,
        "pass_fds": pass_fds,
        "user": user,
        "group": group,
        "extra_groups": extra_groups,
        "umask": umask,
    }
    program = program_of(checked)
    check_size("limit", limit)
    check_seconds("grace", grace)
    task = await begin()
    ends, ending = Ends(task.host), _Ending()
    try:
        if pty:
            ends.connect_terminal()
        else:
            ends.connect(stdin=stdin, stdout=stdout, stderr=stderr)
        pid = await task.host.start_process({**arguments, **ends.given}, ending)
    except BaseException:
        ends.close_ours()
        raise
    finally:
        ends.close_theirs()
    process = Process(task.host, pid, program, ending, ends.ours, limit)
    process.grace = grace
    process.leads_group = start_new_session or process_group == 0
    await spend(task)
    return process


async def run_process(
    command: Command,
    *,
    input: Bytes | None = None,  # noqa: A002 - subprocess.run's and AnyIO's name
    stdin: Stream = None,
    stdout: Stream = PIPE,
    stderr: Stream = PIPE,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    start_new_session: bool = False,
    process_group: int | None = None,
    pass_fds: Sequence[int] = (),
    user: str | int | None = None,
    group: str | int | None = None,
    extra_groups: Iterable[str | int] | None = None,
    umask: int = -1,
    grace: float = TERMINATION_GRACE,
) -> CompletedProcess[bytes]:
    """Runs a program to its end, and returns what it has written, as `subprocess.run` does.

    It is fed and read at the same time, so neither side waits for the other for ever, however much there is.
    All that it writes is kept in memory. The end is when it has ended *and* nobody has its output open any
    more: a process that it has left behind may. A deadline is the caller's: `fail_after`. A cancel ends the
    program as `Process.aclose` says.

    :param input: for its standard input, which ends after that.
    :param stdin: what that is without ``input``; by default this process's own.
    :param check: whether an exit code other than 0 is an error.
    :returns: with ``stdout`` and ``stderr`` as bytes, or ``None`` for what was no pipe.
    :raises subprocess.CalledProcessError: if ``check``, with the code and all that was written.
    :raises ChildProcessError: if its exit code is lost; see `Process.wait`.
    :raises OSError: and others, as `open_process`, which says what the other parameters are.
    """
    if input is not None:
        if stdin is not None:
            raise ValueError("input= is what the program reads: leave stdin= out")
        input = flat(input)  # noqa: A001
        stdin = PIPE
    process = await open_process(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env=env,
        start_new_session=start_new_session,
        process_group=process_group,
        pass_fds=pass_fds,
        user=user,
        group=group,
        extra_groups=extra_groups,
        umask=umask,
        grace=grace,
    )
    async with process:
        if process.stdin is not None:
            _feed(process.stdin, b"" if input is None else input)
        written, complained = await _read_both(process.stdout, process.stderr)
        code = await process.wait()
    from subprocess import CompletedProcess

    completed = CompletedProcess(command, code, written, complained)
    if check:
        completed.check_returncode()
    return completed


class Process:
    """A program that `open_process` has started. It belongs to the run in which that was.

    Any task of the run may call any of this at any time.

    :ivar pid: its number.
    :ivar stdin: a `Writer`, or ``None`` if it was not asked for. ``write_eof`` ends its input.
    :ivar stdout: a `Reader`, or ``None``.
    :ivar stderr: a `Reader`, or ``None``. Who reads one of the two alone is stuck when the other's pipe is full.
    :ivar grace: seconds between SIGTERM and SIGKILL; see `aclose`.
    :ivar leads_group: whether they go to its whole process group.
    """

    def __init__(
        self,
        host: Host,
        pid: int,
        program: str,
        ending: _Ending,
        ours: dict[str, PipeSource],
        limit: int,
    ) -> None:
        self.pid = pid
        self.grace = TERMINATION_GRACE
        self.leads_group = False
        self._what = f"process {pid} ({program})"
        self._host = host
        self._ending = ending
        self._ours = ours
        ending.line.name(f"the end of {self._what}")
        for name, source in ours.items():
            source.peer = f"{name} of {self._what}"
        self.stdin = writer_over(ours["stdin"]) if "stdin" in ours else None
        self.stdout = Reader(ours["stdout"], limit) if "stdout" in ours else None
        self.stderr = Reader(ours["stderr"], limit) if "stderr" in ours else None

    @property
    def returncode(self) -> int | None:
        """The exit code, or the negative number of the signal that has ended it; ``None`` while it runs.

        Also ``None`` if the code is lost; see `wait`.
        """
        return self._ending.code

    async def wait(self) -> int:
        """Waits until the program has ended, and returns its exit code: negative for a signal.

        Calls nothing by itself, and a cancel leaves the program alone. What it writes has to be read
        meanwhile, or it never ends once the pipe is full.

        :raises ChildProcessError: if somebody else in this process has taken its exit code: a library that
            calls ``os.wait()`` or ``waitpid(-1)``, a hub of gevent's in another thread, or a program that
            ignores SIGCHLD. The program has ended all the same.
        """
        task = await begin()
        self._check_run(task)
        if self._ending.known:
            await spend(task)
        else:
            await self._ending.line.join(task, None)
        if self._ending.code is None:
            raise ChildProcessError(
                f"{self._what} has ended, and its exit code is lost: something in this process takes the codes of "
                "all children (os.wait(), waitpid(-1), or SIGCHLD is ignored)"
            )
        return self._ending.code

    def send_signal(self, signal: int) -> None:
        """Sends it to the program itself; does nothing if that has ended.

        :raises PermissionError: if it has become another user's.
        """
        if not self._ending.known and is_child(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL, which no program can ignore."""
        self.send_signal(signal.SIGKILL)

    async def aclose(self) -> None:
        """Ends its input, closes its output and waits until it has ended; ends it if that is cancelled.

        A program is ended by SIGTERM, and by SIGKILL if it is still there after ``grace`` seconds. They go to
        the whole process group if it leads one (``start_new_session=True`` or ``process_group=0``), and so
        reach what it has started itself. That wait cannot be cancelled; then the cancel goes on.

        The end of an ``async with`` block is this. A block that fails ends the program at once.
        May be called again.
        """
        try:
            await begin()
            self._end_input()
            self._close_output()
            await self._wait_ended()
        except BaseException:
            await self._end()
            raise
        finally:
            self._close()

    async def __aenter__(self) -> Process:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.aclose()
            return
        try:
            await self._end()
        finally:
            self._close()

    def __repr__(self) -> str:
        if not self._ending.known:
            state = "running"
        else:
            state = "ended, exit code lost" if self.returncode is None else f"ended with {self.returncode}"
        return f"<bridgeio.Process: {self._what}, {state}>"

    def _check_run(self, task: Task) -> None:
        if task.host is not self._host:
            raise SharedBetweenRunsError(f"{self._what} belongs to another run or loop: use it in a task of that one")

    async def _wait_ended(self) -> None:
        with contextlib.suppress(ChildProcessError):
            await self.wait()

    async def _end(self) -> None:
        """Nothing can cancel this, also nothing of the framework's: the program would be left behind."""
        task = current_task()
        self._check_run(task)
        if self.stdin is not None:
            self.stdin.abort()
        if self._ending.known:
            return
        self._signal_all(signal.SIGTERM)
        timer = self._host.timers.add(self._host.now() + self.grace, partial(self._signal_all, signal.SIGKILL))
        try:
            await self._ending.line.add(task, None, stays=True).wait()
        finally:
            timer.cancel()

    def _signal_all(self, number: int) -> None:
        if not self.leads_group:
            self.send_signal(number)
        elif not self._ending.known and is_child(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _end_input(self) -> None:
        """Without a limit of time: the program may be slow, and its end ends this, too."""
        stdin = self.stdin
        if stdin is None:
            return
        if not stdin.can_write_eof():
            stdin.close()
        elif not stdin.is_closing():
            with contextlib.suppress(OSError):  # it does not read: that is its business
                stdin.write_eof()

    def _close(self) -> None:
        """The program's output too, which closes for whoever still reads it."""
        if self.stdin is not None:
            self.stdin.abort()
        self._close_output()

    def _close_output(self) -> None:
        for name, source in self._ours.items():
            if name != "stdin":
                source.close()


class _Ending:
    """The end of a program: told once, waited for by any number of tasks."""

    def __init__(self) -> None:
        self.known = False
        self.code: int | None = None
        self.line: Line[None] = Line("the end of a process")

    def __call__(self, code: int | None) -> None:
        self.known = True
        self.code = code
        self.line.grant_all()


def _feed(stdin: Writer, data: Bytes) -> None:
    """The poller writes it while others read; what the program does not read is dropped."""
    stdin.write_limit = max(stdin.write_limit, len(data))
    with contextlib.suppress(BrokenPipeError):
        stdin.write(data)
        stdin.write_eof()


async def _read_both(first: Reader | None, second: Reader | None) -> tuple[bytes | None, bytes | None]:
    """A task more only where there are two to read."""
    if first is None or second is None:
        return await _read(first), await _read(second)
    read: list[bytes] = []

    async def read_second() -> None:
        read.append(await second.read())

    async with create_task_group() as group:
        group.start_soon(read_second)
        whole = await first.read()
    return whole, read[0]


async def _read(reader: Reader | None) -> bytes | None:
    return None if reader is None else await reader.read()
