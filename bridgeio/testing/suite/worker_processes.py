"""Chapter: worker processes. Calls that compute, or crash, in processes that are used again."""

from __future__ import annotations

import contextlib
import operator
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio import to_process
from bridgeio.process_pool import Pool, pool_of
from bridgeio.registry import current_host
from bridgeio.testing.errands import fork, fork_and_crash, raise_chained, raise_odd, reap
from bridgeio.testing.programs import Program, program
from bridgeio.testing.resources import unchanged, until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio


def _pool() -> Pool:
    return pool_of(current_host())


def _is_there(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_a_call_in_a_process() -> None:
    """The function gets its arguments and runs in another process; its result comes back."""
    assert await to_process.run_sync(operator.add, 1, 2) == 3
    assert await to_process.run_sync(os.getpid) != os.getpid()


async def test_workers_are_used_again() -> None:
    """One call after the other is made by one process."""
    assert len({await to_process.run_sync(os.getpid) for _ in range(5)}) == 1
    assert _pool().idle == 1


async def test_others_go_on_while_a_process_works() -> None:
    """Two calls at once are made by two processes, and the run goes on meanwhile."""
    turns: list[int] = []
    limiter = bridgeio.CapacityLimiter(2)

    async def nap() -> None:
        await to_process.run_sync(time.sleep, 0.1, limiter=limiter)
        napped.append(len(turns))

    napped: list[int] = []
    async with bridgeio.create_task_group() as group:
        group.start_soon(nap)
        group.start_soon(nap)
        while len(napped) < 2:
            await bridgeio.sleep(0.001)
            turns.append(1)
    assert min(napped) > 1
    assert _pool().idle == 2


async def test_large_arguments_and_results() -> None:
    """Much more than the kernel takes at once goes there and back."""
    data = bytes(range(256)) * (1 << 14)
    assert await to_process.run_sync(operator.mul, data, 2) == data * 2


async def test_an_idle_worker_leaves_nothing_in_the_loop() -> None:
    """Between two calls nothing watches a worker: a loop that is somebody else's is as it was."""
    await to_process.run_sync(abs, -1)
    assert not current_host().poller().sources


def test_workers_end_with_the_run(backend: str, backend_options: dict[str, Any]) -> None:
    """When a run is over its workers are gone, and reaped."""

    async def main() -> int:
        return await to_process.run_sync(os.getpid)

    assert not _is_there(bridgeio.run(main, backend=backend, backend_options=backend_options))


async def test_a_worker_that_was_idle_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call ends workers that had nothing to do for five minutes."""
    first = await to_process.run_sync(os.getpid)
    monkeypatch.setattr("bridgeio.process_pool.IDLE", -1.0)
    assert await to_process.run_sync(os.getpid) != first
    await until(lambda: not _is_there(first))


async def test_a_worker_that_died_while_it_was_idle() -> None:
    """It is nobody's failure: the next call is made by another."""
    first = await to_process.run_sync(os.getpid)
    worker = _pool().take()
    _pool().put(worker)
    os.kill(first, signal.SIGKILL)
    await until(lambda: not worker.is_alive())
    assert await to_process.run_sync(os.getpid) != first
    await until(lambda: not _is_there(first))


async def test_what_a_worker_prints(capfd: pytest.CaptureFixture[str]) -> None:
    """It goes where the program's own words go, and disturbs no call; there is nothing to read."""
    await to_process.run_sync(print, "from the worker")
    await to_process.run_sync(os.write, 1, b"and by its number\n")
    with pytest.raises(EOFError):
        await to_process.run_sync(input)
    assert capfd.readouterr().out == "from the worker\nand by its number\n"


async def test_a_worker_is_deaf_to_ctrl_c() -> None:
    """SIGINT, which a terminal sends to all processes of a program, leaves workers alone."""
    pid = await to_process.run_sync(os.getpid)
    os.kill(pid, signal.SIGINT)
    assert await to_process.run_sync(signal.getsignal, signal.SIGINT) == signal.SIG_IGN
    assert await to_process.run_sync(os.getpid) == pid
    os.kill(pid, signal.SIGINT)
    assert await to_process.run_sync(signal.pthread_sigmask, signal.SIG_BLOCK, ()) == set()


# Errors


async def test_what_a_function_raises_in_a_worker() -> None:
    """Its exception is raised here, with the worker's traceback as a note, its cause in it; the worker goes on."""
    pid = await to_process.run_sync(os.getpid)
    with pytest.raises(KeyError) as caught:
        await to_process.run_sync(raise_chained)
    story = "".join(traceback.format_exception(caught.value))
    assert f"In worker process {pid}" in story
    assert "in raise_chained" in story
    assert "OddError: 1 and 2" in story
    with pytest.raises(SystemExit) as leaving:
        await to_process.run_sync(sys.exit, 3)
    assert leaving.value.code == 3
    assert await to_process.run_sync(os.getpid) == pid


async def test_an_exception_that_cannot_be_sent() -> None:
    """One that cannot be made again here is a PicklingError with its words and its traceback."""
    pid = await to_process.run_sync(os.getpid)
    with pytest.raises(pickle.PicklingError, match="OddError: 1 and 2") as caught:
        await to_process.run_sync(raise_odd)
    assert "in raise_odd" in "".join(caught.value.__notes__)
    assert await to_process.run_sync(os.getpid) == pid


async def test_what_cannot_be_sent_to_a_worker() -> None:
    """A function or an argument that cannot be pickled is a PicklingError before anything begins."""
    with pytest.raises(pickle.PicklingError, match="lambda"):
        await to_process.run_sync(lambda: 1)
    with pytest.raises(pickle.PicklingError, match="its arguments have to be sent"):
        await to_process.run_sync(str, memoryview(b"here"))
    assert _pool().idle == 0
    assert to_process.current_default_process_limiter().borrowed_tokens == 0


async def test_what_cannot_be_sent_back() -> None:
    """A result that cannot be pickled is a PicklingError that says of which type it is; the worker goes on."""
    make_view: Callable[[bytes], object] = memoryview
    pid = await to_process.run_sync(os.getpid)
    with pytest.raises(pickle.PicklingError, match="of type memoryview"):
        await to_process.run_sync(make_view, b"there")
    assert await to_process.run_sync(os.getpid) == pid


@pytest.mark.parametrize(
    ("crash", "status", "words"),
    [(partial(os._exit, 3), 3, "with status 3"), (partial(signal.raise_signal, signal.SIGKILL), -9, "by SIGKILL")],
    ids=["status", "signal"],
)
async def test_a_worker_that_crashes(crash: Callable[[], None], status: int, words: str) -> None:
    """A worker that ends in a call is a `BrokenWorkerProcess` with its exit status, or none where that cannot be
    known; the next call has another."""
    async with unchanged():
        first = await to_process.run_sync(os.getpid)
        with pytest.raises(bridgeio.BrokenWorkerProcess) as caught:
            await to_process.run_sync(crash)
        known = caught.value.returncode == status and words in str(caught.value)
        lost = caught.value.returncode is None and "not known" in str(caught.value)
        assert known or (lost and bridgeio.current_backend() == "gevent")
        assert not _is_there(first)
        assert await to_process.run_sync(os.getpid) != first
        _pool().end()


async def test_a_function_that_forks() -> None:
    """The child answers for nobody and ends with the call; the worker's answer is the only one, and it goes on."""
    worker = await to_process.run_sync(os.getpid)
    child = await to_process.run_sync(fork)
    assert child > 0
    assert [await to_process.run_sync(abs, -number) for number in range(3)] == [0, 1, 2]
    assert await to_process.run_sync(reap, child) == (child, 0)
    assert await to_process.run_sync(os.getpid) == worker


async def test_a_worker_that_crashes_beside_a_child_of_its_own(tmp_path: Path) -> None:
    """The crash is told at once, though what the function has forked lives on."""
    told = tmp_path / "child"
    told.touch()
    try:
        with pytest.raises(bridgeio.BrokenWorkerProcess):
            await to_process.run_sync(fork_and_crash, str(told))
    finally:
        os.kill(int(told.read_text()), signal.SIGKILL)


async def test_a_worker_that_somebody_else_has_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exit status was taken by others the error says that it is not known, and makes none up."""
    pids = [await to_process.run_sync(os.getpid)]

    def others_were_faster(module: str, name: str) -> Any:
        return _no_child if name == "waitpid" else original(module, name)

    monkeypatch.setattr("bridgeio.children.original", others_were_faster)
    with pytest.raises(bridgeio.BrokenWorkerProcess, match="not known") as caught:
        await to_process.run_sync(os._exit, 3)
    monkeypatch.undo()
    assert caught.value.returncode is None
    with contextlib.suppress(ChildProcessError):  # of the worker, whom nobody has reaped in truth
        original("os", "waitpid")(pids[0], 0)


def _no_child(pid: int, how: int) -> tuple[int, int]:
    raise ChildProcessError


async def test_a_crash_can_be_pickled() -> None:
    """The error itself may be sent on, and keeps its status."""
    error = pickle.loads(pickle.dumps(bridgeio.BrokenWorkerProcess("it has ended", -9)))
    assert (str(error), error.returncode) == ("it has ended", -9)


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no function": (lambda: to_process.run_sync("work"), "takes a function"),  # type: ignore[arg-type]
    "an async function": (lambda: to_process.run_sync(bridgeio.sleep, 1), "is an async function"),
    "no limiter": (lambda: to_process.run_sync(int, limiter=3), "limiter is a CapacityLimiter"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_calls_of_to_process(what: str) -> None:
    """Wrong arguments are a TypeError at once, which says what is wanted."""
    call, words = WRONG[what]
    with pytest.raises(TypeError, match=words):
        await call()


# Cancelling, and limits


async def test_a_cancel_waits_for_the_process() -> None:
    """By default the call is made: its result comes, and the cancellation at the next wait."""
    results: list[object] = []
    with bridgeio.move_on_after(0.05) as scope:
        results.append(await to_process.run_sync(operator.methodcaller("__call__"), partial(time.sleep, 0.2)))
        await bridgeio.sleep_forever()
    assert scope.cancelled_caught
    assert results == [None]
    assert _pool().idle == 1


async def test_a_cancel_kills_the_process() -> None:
    """With ``cancellable`` the task goes on at once and the worker is killed; the next call has another."""
    async with unchanged():
        pid = await to_process.run_sync(os.getpid)
        with bridgeio.move_on_after(0.02) as scope:
            await to_process.run_sync(time.sleep, 3600, cancellable=True)
        assert scope.cancelled_caught
        await until(lambda: not _is_there(pid))
        assert await to_process.run_sync(os.getpid) != pid
        assert to_process.current_default_process_limiter().borrowed_tokens == 0
        _pool().end()


async def test_a_cancelled_task_starts_no_process() -> None:
    """Inside a cancelled scope nothing is called."""
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        await to_process.run_sync(os.getpid)
    assert scope.cancelled_caught
    assert _pool().idle == 0


async def test_no_more_processes_than_tokens() -> None:
    """A call holds one token while it is made; the run's own limiter has as many as there are processors."""
    limiter = to_process.current_default_process_limiter()
    assert limiter is to_process.current_default_process_limiter()
    assert limiter.total_tokens == (os.cpu_count() or 2)
    limiter.total_tokens = 1
    async with bridgeio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(to_process.run_sync, abs, -1)
        await until(lambda: "abs in a worker process" in repr(limiter.statistics().borrowers))
    assert _pool().idle == 1
    assert limiter.borrowed_tokens == 0


# The program's own functions


_SCRIPT = """
import sys
sys.path[:] = {path!r}
from bridgeio.testing.choosing import patch_if_asked
if __name__ == "__main__":
    patch_if_asked()
import bridgeio
from bridgeio import to_process

class Number:
    def __init__(self, value):
        self.value = value

def double(number):
    return Number(2 * number.value)

async def main():
    doubled = await to_process.run_sync(double, Number(21))
    assert type(doubled) is Number
    print(doubled.value)

if __name__ == "__main__":
    bridgeio.run(main, backend={backend!r}, backend_options={options!r})
"""


def _said(arguments: list[str], folder: Path) -> str:
    run = Program([sys.executable, *arguments], stdout=-1, stderr=-1, text=True, cwd=folder)
    with run:
        printed, complaint = run.ended()
    return printed + complaint


@pytest.mark.parametrize("how", ["script", "module"])
def test_functions_of_the_main_module(backend: str, backend_options: dict[str, Any], how: str, tmp_path: Path) -> None:
    """Functions and classes of the program itself are found in the worker, and their objects come back as what they
    are; the program is not run a second time."""
    source = _SCRIPT.format(path=[*sys.path, str(tmp_path)], backend=backend, options=backend_options)
    (tmp_path / "errand.py").write_text(source, encoding="utf-8")
    arguments = ["errand.py"] if how == "script" else ["-m", "errand"]
    assert _said(arguments, tmp_path) == "42\n"


_FLAGS = """
import sys
sys.path[:] = {path!r}
from bridgeio.testing.choosing import patch_if_asked
patch_if_asked()
import logging
import bridgeio
from bridgeio import to_process

logging.getLogger("asyncio").setLevel(logging.ERROR)  # in development mode it warns of steps that took long

THIS = "__import__('sys')"
ASKED = f"[{{THIS}}.flags, {{THIS}}._xoptions, sorted(set({{THIS}}.warnoptions))]"

async def main():
    print(await to_process.run_sync(eval, f"repr({{ASKED}})"), repr(eval(ASKED)), sep="\\n")

bridgeio.run(main, backend={backend!r}, backend_options={options!r})
"""


def test_workers_are_the_same_kind_of_interpreter(
    backend: str, backend_options: dict[str, Any], tmp_path: Path
) -> None:
    """What the program's own interpreter was told on its command line is told to theirs: assertions that are left out,
    warnings that are errors, development mode."""
    source = _FLAGS.format(path=sys.path, backend=backend, options=backend_options)
    options = [
        "-OO",
        "-P",
        "-bb",
        "-Wignore::ResourceWarning",
        "-Xdev",
        "-Xint_max_str_digits=5000",
        "-Xno_debug_ranges",
    ]
    theirs, ours = _said([*options, "-c", source], tmp_path).splitlines()
    assert theirs == ours


def test_no_worker_is_left_by_a_program_that_was_killed(backend: str, backend_options: dict[str, Any]) -> None:
    """A worker that computes ends with the process that has asked for it, also in code that lets no thread run."""
    with program(_COMPUTING, backend, **backend_options) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "computing\n"
        running.kill()
        running.ended()  # which is when nobody has its output open any more


_COMPUTING = """
from bridgeio import to_process
from bridgeio.testing.errands import compute_for_ever

async def main():
    await to_process.run_sync(compute_for_ever)

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""


def test_a_program_without_an_interpreter(backend: str, backend_options: dict[str, Any], tmp_path: Path) -> None:
    """Where no interpreter could run a worker the call says so, and starts nothing: a frozen program would start
    itself."""
    for words in ("sys.frozen = True", "sys.executable = ''"):
        source = _FLAGS.format(path=sys.path, backend=backend, options=backend_options).replace(
            "import sys", f"import sys; {words}"
        )
        assert "RuntimeError: worker processes need" in _said(["-c", source], tmp_path)


def test_functions_that_no_other_process_can_import(
    backend: str, backend_options: dict[str, Any], tmp_path: Path
) -> None:
    """A function of ``python -c`` cannot be found in a worker: the error says what to do."""
    source = _SCRIPT.format(path=sys.path, backend=backend, options=backend_options)
    assert "put it into a module" in _said(["-c", source], tmp_path)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
