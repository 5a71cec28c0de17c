"""Chapter: processes. Real programs, talked to, run to their end, and never left behind."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.limits import WRITE_LIMIT
from bridgeio.testing.children import children_of, is_gone, zombies
from bridgeio.testing.meetings import when
from bridgeio.testing.resources import unchanged, until
from bridgeio.unpatched import original

MEGABYTE = 1 << 20
PATIENT = "while true; do sleep 0.01; done"  # a shell that is there until somebody ends it
STUBBORN = f"trap '' TERM; echo ready; {PATIENT}"

pytestmark = pytest.mark.bridgeio


# Running one to its end


@pytest.mark.parametrize("command", ["printf 'a b'; printf c >&2", ["sh", "-c", "printf 'a b'; printf c >&2"]])
async def test_what_a_program_writes(command: Any) -> None:
    """Text is a command for the shell, a sequence is a program; both streams come back, and its code."""
    done = await bridgeio.run_process(command)
    assert (done.args, done.returncode, done.stdout, done.stderr) == (command, 0, b"a b", b"c")


async def test_a_path_alone_is_a_program(tmp_path: Path) -> None:
    """It needs no arguments, and no shell that would split it."""
    program = tmp_path / "a program"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    assert (await bridgeio.run_process(program)).stdout == b"here\n"


async def test_input_larger_than_any_pipe() -> None:
    """A program that writes as much as it reads is fed and read at the same time: nobody waits for ever."""
    data = os.urandom(64) * (5 * MEGABYTE // 64)
    async with unchanged():
        done = await bridgeio.run_process("tee /dev/stderr", input=data)
    assert done.stdout == data
    assert done.stderr == data


async def test_input_beyond_the_write_limit() -> None:
    """What is given at once is taken at once: the bound of a `Writer` is for those who never look."""
    done = await bridgeio.run_process(["wc", "-c"], input=bytes(WRITE_LIMIT + 1))
    assert int(done.stdout) == WRITE_LIMIT + 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_kinds_of_input(kind: Callable[[bytes], Any]) -> None:
    """Whatever is made of bytes is input; none at all is an end at once."""
    assert (await bridgeio.run_process(["wc", "-c"], input=kind(b"12345"))).stdout.strip() == b"5"
    assert (await bridgeio.run_process(["cat"], input=kind(b""))).stdout == b""


async def test_input_that_nobody_reads() -> None:
    """A program that ends before it has read everything is no error; neither is one that reads nothing."""
    async with unchanged():
        done = await bridgeio.run_process(["head", "-c", "3"], input=b"abc" * MEGABYTE)
        assert done.stdout == b"abc"
        assert (await bridgeio.run_process(["true"], input=b"abc" * MEGABYTE)).returncode == 0


async def test_exit_codes() -> None:
    """A code other than 0 is an error with all that was written, unless nobody checks; a signal's is negative."""
    with pytest.raises(subprocess.CalledProcessError) as raised:
        await bridgeio.run_process("echo out; echo err >&2; exit 3")
    assert (raised.value.returncode, raised.value.output, raised.value.stderr) == (3, b"out\n", b"err\n")
    assert (await bridgeio.run_process("exit 3", check=False)).returncode == 3
    assert (await bridgeio.run_process("kill -9 $$", check=False)).returncode == -signal.SIGKILL


async def test_where_output_goes(tmp_path: Path) -> None:
    """To a file, to nowhere, to where the other goes: then nothing comes back for it."""
    with (tmp_path / "out").open("wb") as file:
        done: Any = await bridgeio.run_process("echo out; echo err >&2", stdout=file, stderr=subprocess.DEVNULL)
    assert (done.stdout, done.stderr) == (None, None)
    assert (tmp_path / "out").read_bytes() == b"out\n"
    done = await bridgeio.run_process("echo out; echo err >&2", stderr=subprocess.STDOUT)
    assert (done.stdout, done.stderr) == (b"out\nerr\n", None)


async def test_where_input_comes_from(tmp_path: Path) -> None:
    """From a file, or from a descriptor."""
    (tmp_path / "in").write_bytes(b"some text")
    with (tmp_path / "in").open("rb") as file:
        assert (await bridgeio.run_process(["cat"], stdin=file)).stdout == b"some text"
        os.lseek(file.fileno(), 5, os.SEEK_SET)
        assert (await bridgeio.run_process(["cat"], stdin=file.fileno())).stdout == b"text"


async def test_its_surroundings(tmp_path: Path) -> None:
    """Directory, environment, umask and the descriptors that are passed on are as asked for."""
    done = await bridgeio.run_process("pwd; echo $NAME; umask", cwd=tmp_path, env={"NAME": "value"}, umask=0o27)
    assert done.stdout.split() == [os.fsencode(tmp_path), b"value", b"0027"]
    ours, theirs = os.pipe()
    try:
        await bridgeio.run_process(f"echo passed on >/dev/fd/{theirs}", pass_fds=[theirs])
        assert os.read(ours, 100) == b"passed on\n"
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("options", [{"start_new_session": True}, {"process_group": 0}])
async def test_its_process_group(options: dict[str, Any]) -> None:
    """It leads one of its own where that was asked for, and is in this process's else."""
    async with await bridgeio.open_process(["cat"], **options) as process:
        assert os.getpgid(process.pid) == process.pid
    async with await bridgeio.open_process(["cat"]) as process:
        assert os.getpgid(process.pid) == os.getpgid(0)


# Talking to one


async def test_a_conversation() -> None:
    """What is written to ``stdin`` it reads, what it writes is read from ``stdout``, in any order."""
    async with await bridgeio.open_process(["cat"]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            await process.stdin.drain()
            assert await process.stdout.readline() == line
        process.stdin.write_eof()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0
        assert await process.wait() == process.returncode == 0


async def test_only_the_pipes_that_were_asked_for() -> None:
    """Streams that were directed elsewhere are ``None``."""
    async with await bridgeio.open_process(["true"], stdin=None, stdout=subprocess.DEVNULL, stderr=None) as process:
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)


async def test_a_pipe_holds_up_who_writes() -> None:
    """``drain`` waits for a program that does not read, and ends when it does."""
    async with await bridgeio.open_process("read go; cat >/dev/null") as process:
        stdin: Any = process.stdin
        stdin.write(b"x" * MEGABYTE)
        assert stdin.get_write_buffer_size() > 0
        stdin.write(b"\n")
        await stdin.drain()


async def test_a_program_that_stops_reading() -> None:
    """Writing to it is a `BrokenPipeError` that names it, and the program may go on."""
    async with await bridgeio.open_process("exec <&-; echo closed; read x <&1 2>/dev/null; sleep 0") as process:
        stdin: Any = process.stdin
        stdout: Any = process.stdout
        assert await stdout.readline() == b"closed\n"
        with pytest.raises(BrokenPipeError, match=f"stdin of process {process.pid}"):
            stdin.write(b"anyone?")


async def test_a_program_that_stops_writing() -> None:
    """The end of its output is not its own end: it lives until it ends."""
    async with await bridgeio.open_process("exec >&- 2>&-; read line") as process:
        stdin: Any = process.stdin
        stdout: Any = process.stdout
        assert await stdout.read() == b""
        assert process.returncode is None
        stdin.write(b"\n")
        assert await process.wait() == 0


async def test_a_grandchild_that_keeps_the_pipe() -> None:
    """Its output goes on after the program has ended; ``wait`` does not wait for that."""
    async with unchanged(), await bridgeio.open_process("sleep 1000 & echo $!") as process:
        stdout: Any = process.stdout
        grandchild = int(await stdout.readline())
        try:
            assert await process.wait() == 0
            with bridgeio.move_on_after(0.01) as scope:
                await stdout.read()
            assert scope.cancelled_caught
        finally:
            os.kill(grandchild, signal.SIGKILL)
        assert await stdout.read() == b""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this platform has no ptys")
async def test_a_terminal() -> None:
    """With ``pty=True`` the program sees a terminal; what is typed is echoed, and its end is the end of the stream."""
    async with (
        unchanged(),
        await bridgeio.open_process("test -t 0 && tty && read x && echo got $x", pty=True) as process,
    ):
        stdin: Any = process.stdin
        stdout: Any = process.stdout
        assert (await stdout.readline()).startswith(b"/dev/")
        stdin.write(b"hello\n")
        assert await stdout.read() == b"hello\r\ngot hello\r\n"
        assert await process.wait() == 0
        assert process.stderr is None


# Signals, and the end


@pytest.mark.parametrize("name", ["terminate", "kill"])
async def test_ending_one(name: str) -> None:
    """``terminate`` is SIGTERM, ``kill`` SIGKILL; what has ended is left alone."""
    async with await bridgeio.open_process(PATIENT) as process:
        getattr(process, name)()
        number = signal.SIGTERM if name == "terminate" else signal.SIGKILL
        assert await process.wait() == -number
        getattr(process, name)()
        process.send_signal(signal.SIGKILL)
        assert process.returncode == -number


async def test_any_signal() -> None:
    """``send_signal`` sends what it is given."""
    async with await bridgeio.open_process(f"trap 'exit 7' USR1; echo ready; {PATIENT}") as process:
        stdout: Any = process.stdout
        await stdout.readline()
        process.send_signal(signal.SIGUSR1)
        assert await process.wait() == 7


async def test_many_may_wait() -> None:
    """Each task that waits gets the code, and one that is cancelled leaves the program alone."""
    codes: list[int] = []
    async with await bridgeio.open_process(["cat"]) as process:

        async def wait() -> None:
            codes.append(await process.wait())

        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: len(process._ending.line) == 1, scope.cancel)
                await process.wait()
        assert process.returncode is None
        async with bridgeio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wait)
            await until(lambda: len(process._ending.line) == 3)
            process.kill()
    assert codes == [-signal.SIGKILL] * 3


async def test_no_zombie_while_nobody_waits() -> None:
    """A program that has ended is reaped at once, and its code is known, also if no task waits for it."""
    async with await bridgeio.open_process(["true"]) as process:
        await until(lambda: process.returncode is not None)
        assert is_gone(process.pid)


async def test_fifty_at_once() -> None:
    """Each gets its own output and its own code; nothing is left."""
    codes: dict[int, int] = {}

    async def run(number: int) -> None:
        done = await bridgeio.run_process(f"cat; exit {number}", input=b"%d" % number, check=False)
        assert done.stdout == b"%d" % number
        codes[number] = done.returncode

    async with unchanged(), bridgeio.create_task_group() as group:
        for number in range(50):
            group.start_soon(run, number)
    assert codes == {number: number for number in range(50)}
    assert zombies() == set()


async def test_the_end_of_the_block() -> None:
    """It ends the program's input, waits for its end, and closes the pipes."""
    async with unchanged():
        async with await bridgeio.open_process(["cat"]) as process:
            pass
        assert process.returncode == 0
        with pytest.raises(bridgeio.StreamClosedError):
            await process.stdout.read()  # type: ignore[union-attr]
        await process.aclose()


async def test_the_end_of_the_block_closes_output() -> None:
    """A program that would write for ever hears that nobody reads it any more."""
    async with await bridgeio.open_process(["yes"]) as process:
        pass
    assert process.returncode == -signal.SIGPIPE


async def test_the_end_of_the_block_flushes_input(tmp_path: Path) -> None:
    """What was written reaches a program that reads slowly, to the last byte."""
    out = tmp_path / "out"
    async with await bridgeio.open_process(f"read go <{_fifo(tmp_path)}; cat >{out}") as process:
        process.stdin.write(b"x" * MEGABYTE)  # type: ignore[union-attr]
        fd = os.open(tmp_path / "fifo", os.O_RDWR)
        os.write(fd, b"\n")
    os.close(fd)
    assert out.read_bytes() == b"x" * MEGABYTE


def _fifo(folder: Path) -> Path:
    path = folder / "fifo"
    os.mkfifo(path)
    return path


async def test_a_failed_block_ends_it() -> None:
    """An error comes out at once, and the program is gone by then."""
    async with unchanged():
        with pytest.raises(ZeroDivisionError):
            async with await bridgeio.open_process(PATIENT) as process:
                raise ZeroDivisionError
    assert process.returncode == -signal.SIGTERM
    assert is_gone(process.pid)


@pytest.mark.bridgeio_bug("inconsistent-stream")
async def test_a_cancel_ends_a_program() -> None:
    """A cancelled ``run_process`` leaves no orphan and no zombie."""
    before = children_of(os.getpid())
    async with unchanged():
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: children_of(os.getpid()) - before, scope.cancel)
                await bridgeio.run_process(PATIENT)
        assert scope.cancelled_caught
    assert children_of(os.getpid()) <= before


async def test_one_that_ignores_sigterm() -> None:
    """It is killed when ``grace`` is over, whatever is cancelled meanwhile."""
    async with unchanged():
        with bridgeio.CancelScope() as scope:
            async with await bridgeio.open_process(STUBBORN, grace=0.05) as process:
                await process.stdout.readline()  # type: ignore[union-attr]
                scope.cancel()
                await bridgeio.sleep_forever()
    assert process.returncode == -signal.SIGKILL
    assert is_gone(process.pid)


async def test_its_group_ends_with_it() -> None:
    """What it has started itself gets the signals, too, if it leads a group."""
    with bridgeio.CancelScope() as scope:
        async with await bridgeio.open_process(f"sh -c '{PATIENT}' & echo $!; wait", start_new_session=True) as process:
            grandchild = int(await process.stdout.readline())  # type: ignore[union-attr]
            scope.cancel()
            await bridgeio.sleep_forever()
    await until(lambda: is_gone(grandchild))


# What goes wrong


async def test_no_such_program() -> None:
    """The error is the standard library's, with the name; nothing stays open."""
    async with unchanged():
        with pytest.raises(FileNotFoundError, match="/no/such/program"):
            await bridgeio.open_process(["/no/such/program"])
    assert zombies() == set()


async def test_no_such_directory(tmp_path: Path) -> None:
    """So is this, with the directory."""
    async with unchanged():
        with pytest.raises(FileNotFoundError, match="no-such-directory"):
            await bridgeio.open_process(["true"], cwd=tmp_path / "no-such-directory")


async def test_permission_denied(tmp_path: Path) -> None:
    """A file that is no program."""
    (tmp_path / "file").write_text("text")
    async with unchanged():
        with pytest.raises(PermissionError, match="file"):
            await bridgeio.open_process([tmp_path / "file"])


async def test_no_descriptor_left() -> None:
    """However many there are, starting either works or says EMFILE, and leaves nothing open."""
    async with unchanged():
        await bridgeio.run_process(["true"])
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        first = os.dup(0)
        os.close(first)
        started = 0
        for spare in range(13):
            resource.setrlimit(resource.RLIMIT_NOFILE, (first + spare, before[1]))
            try:
                process = await bridgeio.open_process(["cat"])
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017 - it may also work
                process = None
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            if process is not None:
                started += 1
                await process.aclose()
                assert process.returncode == 0
    assert zombies() == set()


async def test_a_stolen_exit_code() -> None:
    """Somebody in this process takes the codes of all children: that is said, and no code is made up."""
    async with await bridgeio.open_process(["cat"]) as process:
        process.kill()
        original("os", "waitpid")(process.pid, 0)
        with pytest.raises(ChildProcessError, match=r"its exit code is lost.*waitpid\(-1\)"):
            await process.wait()
        assert process.returncode is None
        assert "lost" in repr(process)
        process.kill()


async def test_a_number_that_may_be_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No signal goes to the number of a program whose code was taken, before that is noticed."""
    sent: list[tuple[int, int]] = []
    async with await bridgeio.open_process(["cat"]) as process:
        process.kill()
        original("os", "waitpid")(process.pid, 0)
        monkeypatch.setattr(os, "kill", lambda *signal: sent.append(signal))
        process.kill()
        monkeypatch.undo()
        assert sent == []


@pytest.mark.parametrize(
    ("command", "options", "error", "words"),
    [
        ([], {}, ValueError, "program"),
        (["echo", 3], {}, TypeError, "3"),
        (7, {}, TypeError, "7"),
        (["true"], {"stdout": subprocess.STDOUT}, ValueError, "stderr alone"),
        (["true"], {"stdin": subprocess.STDOUT}, ValueError, "stderr alone"),
        (["true"], {"stdin": "x"}, TypeError, "stdin is PIPE .* not 'x'"),
        (["true"], {"stdout": b"x"}, TypeError, "stdout is PIPE"),
        (["true"], {"stderr": 1.5}, TypeError, "stderr is PIPE"),
        (["true"], {"pty": True, "stderr": None}, ValueError, "pty"),
        (["true"], {"grace": -1}, ValueError, "grace"),
        (["true"], {"grace": float("nan")}, ValueError, "grace"),
    ],
)
async def test_wrong_commands(command: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    """Said at once, before anything is started."""
    async with unchanged():
        with pytest.raises(error, match=words):
            await bridgeio.open_process(command, **options)


async def test_wrong_input() -> None:
    """Input is bytes, and the only input; text is no file to read."""
    with pytest.raises(ValueError, match="stdin"):
        await bridgeio.run_process(["cat"], input=b"x", stdin=subprocess.DEVNULL)
    with pytest.raises(TypeError, match="stdin is PIPE"):
        await bridgeio.run_process(["cat"], stdin="text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="encode"):
        await bridgeio.run_process(["cat"], input="text")  # type: ignore[arg-type]


async def test_the_names_are_the_standard_librarys() -> None:
    """Where `subprocess.PIPE` is written the default is meant."""
    async with await bridgeio.open_process(
        [sys.executable, "-c", "print(input())"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(b"echoed\n")  # type: ignore[union-attr]
        assert await process.stdout.readline() == b"echoed\n"  # type: ignore[union-attr]
        assert str(process.pid) in repr(process)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
