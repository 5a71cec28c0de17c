"""What is peculiar to threads as tasks: Ctrl-C, their number, and who is a task at all."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.contract import CURRENT, Task
from bridgeio.registry import current_task
from bridgeio.testing import until
from bridgeio_threads.task import ThreadTask
from echoing import ask, echo, echo_round
from fresh import run as run_program
from on_threads import host, is_parked, native_threads, run

# Ctrl-C


@pytest.mark.parametrize("where", ["event", "read", "own code", "join"])
def test_ctrl_c_ends_a_run(where: str) -> None:
    """Wherever the main task is, its children end, cleanup and all, and KeyboardInterrupt comes out."""
    cleaned: list[int] = []
    seen_in: list[str] = []
    stays = threading.Event()
    interrupter = threading.Thread(target=interrupt_when_waiting, args=(where, stays))

    async def child(number: int) -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.001)
            cleaned.append(number)

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer, bridgeio.create_task_group() as group:
                for number in range(3):
                    group.start_soon(child, number)
                await bridgeio.sleep(0)
                stays.set()
                try:
                    await stay(where, reader)
                except KeyboardInterrupt:
                    seen_in.append(where)
                    raise

    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        run(main)
    interrupter.join()
    assert sorted(cleaned) == [0, 1, 2]
    assert seen_in == ([] if where == "join" else [where])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def stay(where: str, reader: bridgeio.Reader) -> None:
    if where == "event":
        await bridgeio.Event().wait()
    elif where == "read":
        await reader.read()
    elif where == "own code":
        busy_in_own_code()


def is_busy() -> bool:
    return sys._current_frames()[threading.main_thread().ident or 0].f_code is busy_in_own_code.__code__


def busy_in_own_code() -> None:
    while True:
        pass


def interrupt_when_waiting(where: str, stays: threading.Event) -> None:
    pause = threading.Event()
    stays.wait()
    while not (is_busy() if where == "own code" else is_parked(threading.main_thread())):
        pause.wait(0.001)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_in_the_middle_of_a_step_of_ours_waits_for_the_next_wait() -> None:
    """The step is finished, so that it leaves nothing half changed; then KeyboardInterrupt is raised."""
    seen: list[str] = []

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            try:
                group.start_soon(partial(signal.raise_signal, signal.SIGINT))  # type: ignore[arg-type]
            except TypeError:
                seen.append("the step has said what it had to say")
            await bridgeio.sleep(20)
            seen.append("the next wait was not ended")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert seen == ["the step has said what it had to say"]


def test_signals_ring_the_bell_of_the_run() -> None:
    """The interpreter itself ends a wait that begins just after a signal came; only during the run."""

    async def main() -> bool:
        rung = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(rung, warn_on_full_buffer=False)
        os.write(rung, b"a signal's number")
        await bridgeio.sleep(0.001)
        return rung == host().lookout.bell.writer

    assert run(main)
    assert signal.set_wakeup_fd(-1) == -1


# Threads


def test_every_thread_ends_with_the_run() -> None:
    """After a run with many tasks the process has the threads that it had before, also by name."""
    before, named = native_threads(), threading.active_count()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(bridgeio.sleep, 0.001)
        logging.getLogger("bridgeio.test").debug("%s", threading.current_thread())

    run(main)
    while native_threads() > before:
        os.sched_yield()
    assert threading.active_count() == named


def test_a_thread_carries_one_task_after_another() -> None:
    """Tasks that follow each other share a thread."""
    threads: set[int] = set()

    async def child() -> None:
        threads.add(threading.get_native_id())

    async def main() -> None:
        for _ in range(20):
            async with bridgeio.create_task_group() as group:
                group.start_soon(child)

    run(main)
    assert len(threads) == 1


def test_a_thread_that_threading_was_asked_for_is_forgotten() -> None:
    """``threading.current_thread()`` in a task, which logging calls, leaves nothing behind."""
    before = threading.active_count()

    async def child() -> None:
        assert threading.current_thread().ident == threading.get_ident()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(child)

    run(main)
    assert threading.active_count() == before


def test_a_system_without_threads_to_spare_refuses_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is closed and the refusal logged; the server and its other connections live on."""

    def refuse(*args: object) -> int:
        raise RuntimeError("can't start new thread")

    async def main() -> bytes:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            await until(lambda: host().workers.alive > 0)
            with monkeypatch.context() as scarce:
                scarce.setattr("_thread.start_new_thread", refuse)
                with pytest.raises(ConnectionError):  # sooner or later, as the reset and the question cross
                    await ask(server.port, b"refused")
                assert server.connections == 0
            return await ask(server.port, b"served")

    with caplog.at_level(logging.ERROR, "bridgeio.server"):
        assert run(main) == b"served"
    assert "can't start new thread" in caplog.text


def test_a_child_that_cannot_be_started_is_an_error_of_start_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """RuntimeError comes out where the task was asked for, and the group ends as ever."""

    def refuse(*args: object) -> int:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            with monkeypatch.context() as scarce:
                scarce.setattr("_thread.start_new_thread", refuse)
                with pytest.raises(RuntimeError, match="can't start new thread"):
                    group.start_soon(bridgeio.sleep, 0)

    run(main)


def test_two_runs_at_once() -> None:
    """Each has its own baton: two threads run two servers."""
    failures: list[BaseException] = []

    def go() -> None:
        try:
            run(echo_round)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_run_inside_a_run_is_refused() -> None:
    """It would keep the outer run's baton for as long as it lasts."""

    async def main() -> None:
        with pytest.raises(bridgeio.BackendBusyError):
            run(echo_round)

    run(main)


def test_a_run_that_gets_no_descriptor_says_only_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """OSError comes out, and what was half made is cleared away without a word."""

    def refuse() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    unraisable: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    monkeypatch.setattr("os.pipe", refuse)
    with pytest.raises(OSError, match="Too many"):
        run(echo_round)
    gc.collect()
    assert unraisable == []


# Forks

FORKING = """
import os, signal, sys, threading
import bridgeio

async def sleeper():
    await bridgeio.sleep(0.05)

async def busy(begun, forked):
    begun.set()
    forked.wait()

async def main(how):
    begun, forked = threading.Event(), threading.Event()
    async with bridgeio.create_task_group() as group:
        if how == "asleep":
            group.start_soon(sleeper)
            await bridgeio.sleep(0)
            child = os.fork()
        else:
            group.start_soon(busy, begun, forked)
            with bridgeio.lowlevel.blocking_section():
                begun.wait()
                child = os.fork()
                forked.set()
        if not child:
            signal.alarm(20)
            await bridgeio.sleep(0.1)
            os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

bridgeio.run(lambda: main(sys.argv[1]), backend="threads")
"""


@pytest.mark.parametrize("others", ["asleep", "with the baton"])
def test_a_task_that_forks_goes_on_alone_in_the_child(others: str, tmp_path: Path) -> None:
    """The threads of the other tasks are the parent's: nothing there wakes them, and they keep no baton."""
    assert run_program(sys.executable, "-W", "ignore", "-c", FORKING, others, cwd=tmp_path).split() == ["7"]


# Who is a task


def test_a_plain_thread_is_no_task() -> None:
    """A thread beside the run has no backend, and neither has one that took a task's context along."""
    seen: list[object] = []

    def look() -> None:
        try:
            seen.append(bridgeio.current_backend())
        except bridgeio.NoBackendError:
            seen.append(None)

    async def main() -> None:
        context = contextvars.copy_context()
        assert context[CURRENT] is current_task()
        for thread in (threading.Thread(target=look), threading.Thread(target=context.run, args=(look,))):
            thread.start()
            thread.join()

    run(main)
    assert seen == [None, None]


def test_a_callback_is_no_task() -> None:
    """What is called between two tasks, in the thread of one of them, cannot wait."""

    async def main() -> bool:
        refused = bridgeio.Event()

        def call() -> None:
            with pytest.raises(bridgeio.NoBackendError):
                bridgeio.current_backend()
            refused.set()

        host().call_soon_threadsafe(call)
        await refused.wait()
        return refused.is_set()

    assert run(main)


def test_a_foreign_awaitable_is_refused_at_its_await() -> None:
    """TypeError in the coroutine that awaits it, which may go on."""

    async def main() -> str:
        loop = asyncio.new_event_loop()
        try:
            await loop.create_future()
        except TypeError as error:
            await bridgeio.sleep(0)
            return str(error)
        finally:
            loop.close()
        return ""

    assert "cannot be awaited on the threads backend" in run(main)


def test_each_task_has_its_own_context() -> None:
    """A child inherits its parent's context variables, and keeps to itself what it sets."""
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def child() -> None:
        seen.append(variable.get())
        variable.set("child")

    async def main() -> None:
        variable.set("parent")
        for _ in range(2):
            async with bridgeio.create_task_group() as group:
                group.start_soon(child)
        seen.append(variable.get())

    run(main)
    assert seen == ["parent", "parent", "parent"]
    assert variable.get() == "none"


def test_an_abandoned_generator_ends_inside_its_run() -> None:
    """Its cleanup awaits in a task of its own in the same run, or in the main task when the run ends."""
    ended_in: list[Task] = []
    abandoned_by: list[Task] = []

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            await bridgeio.sleep(0)
            ended_in.append(current_task())

    async def abandon() -> None:
        abandoned_by.append(current_task())
        async for _ in endless():
            break
        gc.collect()

    async def main() -> AsyncIterator[int]:
        async with bridgeio.create_task_group() as group:
            group.start_soon(abandon)
        await abandon()
        await until(lambda: len(ended_in) == 2)
        kept = endless()
        await anext(kept)
        return kept

    _kept = run(main)
    child, main_task = abandoned_by
    assert not {*ended_in[:2]} & {child, main_task}
    assert ended_in[2] is main_task
    assert len({task.host for task in ended_in}) == 1


def test_an_error_nobody_handles_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A callback that raises is reported, and the run goes on."""

    async def main() -> None:
        event = bridgeio.Event()
        host().call_soon_threadsafe(lambda: 1 // 0)  # type: ignore[arg-type]
        host().call_soon_threadsafe(event.set)
        await event.wait()

    run(main)
    assert "ZeroDivisionError" in caplog.text


def test_a_strike_that_comes_too_late_waits_for_the_next_wait() -> None:
    """A wait that cannot be taken back keeps its result; the exception is raised by the next one."""

    async def main() -> list[str]:
        task, seen = current_task(), list[str]()
        assert isinstance(task, ThreadTask)
        host().call_soon_threadsafe(lambda: task.strike(KeyError("struck")))
        host().call_soon_threadsafe(task.wake)
        await park_shielded(task)
        seen.append("the wait ended by itself")
        try:
            await bridgeio.sleep(0.001)
        except KeyError:
            seen.append("struck")
        return seen

    assert run(main) == ["the wait ended by itself", "struck"]


def park_shielded(task: ThreadTask) -> Awaitable[Any]:
    result: Awaitable[Any] = task.park(lambda: False)
    return result


# Beside gevent

PATCHED = """
from gevent import monkey
monkey.patch_all()
import os, bridgeio
from bridgeio.unpatched import original

async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)

async def client(port, seen):
    reader, writer = await bridgeio.open_connection("localhost", port)
    async with writer:
        writer.write(b"patched")
        seen.append((await reader.readexactly(7), original("_thread", "get_ident")()))

async def main():
    seen = []
    async with bridgeio.serve(echo, "localhost") as server, bridgeio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(client, server.port, seen)
        with bridgeio.move_on_after(0.01):
            await bridgeio.sleep_forever()
    return len(seen), len({thread for _, thread in seen}), bridgeio.current_backend()

print(bridgeio.run(main, backend="threads"))
"""


def test_threads_are_real_in_a_process_that_gevent_patched(tmp_path: Path) -> None:
    """Locks, polls and threads are the system's own, whatever has been replaced by their names."""
    pytest.importorskip("gevent")
    assert run_program(sys.executable, "-c", PATCHED, cwd=tmp_path).strip() == "(3, 3, 'threads')"
