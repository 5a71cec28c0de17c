"""Twisted, run by bridgeio or found running.

A process has one reactor, and a stopped one never runs again. So what is promised inside a running
application is in `twisted_results`, `twisted_surroundings` and `twisted_neighbours`, kept in one process
for each kind of reactor, and what ends a process or a reactor is in `twisted_programs`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("twisted", exc_type=ModuleNotFoundError)

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

import bridgeio
import twisted_neighbours  # noqa: F401 - its promises
import twisted_programs
import twisted_promises
import twisted_results  # noqa: F401 - its promises
import twisted_surroundings  # noqa: F401 - its promises
from bridgeio.errors import BackendBusyError
from bridgeio.registry import current_host, current_task
from bridgeio.testing.programs import Program
from bridgeio_twisted import as_deferred
from echoing import ask, echo_round
from twisted_promises import installed, turn

REACTORS = {
    "epoll": "EPollReactor",
    "poll": "PollReactor",
    "select": "SelectReactor",
    "asyncio": "AsyncioSelectorReactor",
}
UNLIKE = ["epoll", "asyncio"]  # where a loop of Twisted's own and one of asyncio's could differ
HELPERS = str(Path(twisted_programs.__file__).parent)

run = functools.partial(bridgeio.run, backend="twisted")


def command(helper: str, *arguments: str) -> list[str]:
    code = f"import sys; sys.path.append({HELPERS!r}); import {helper.partition('.')[0]}; {helper}(*sys.argv[1:])"
    return [sys.executable, "-c", code, *arguments]


def printed(helper: str, *arguments: str) -> list[str]:
    """What a process prints, which has to end by itself and without a complaint."""
    done = subprocess.run(command(helper, *arguments), capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


# In an application that runs already


@functools.cache
def broken_promises(kind: str) -> dict[str, str]:
    broken: dict[str, str] = json.loads(printed("twisted_promises.keep_all", kind)[-1])
    return broken


@pytest.mark.parametrize("promise", twisted_promises.PROMISES)
@pytest.mark.parametrize("kind", REACTORS)
def test_in_a_running_reactor(kind: str, promise: str) -> None:
    """Each promise to an application on Twisted, on each of its reactors; see the promise's docstring."""
    assert broken_promises(kind).get(promise) is None, broken_promises(kind)[promise]


@pytest.mark.parametrize("kind", UNLIKE)
def test_a_coroutine_waits_for_the_reactor_to_start(kind: str) -> None:
    """``as_deferred`` before ``reactor.run()``: the coroutine runs once the reactor does."""
    assert printed("twisted_programs.start", "before_the_reactor_runs", kind) == ["None"]


@pytest.mark.parametrize("kind", REACTORS)
def test_the_reactors_shutdown_waits_for_cleanup(kind: str) -> None:
    """Tasks are cancelled, their cleanup still has the reactor and its threads, and closed writers flush."""
    *said, last = printed("twisted_programs.start", "shutdown", kind)
    assert said == ["cleaned up in a thread", "CancelledError"]
    assert last == "4000000 [] []"


@pytest.mark.parametrize("kind", UNLIKE)
def test_system_exit_stops_the_reactor(kind: str) -> None:
    """Out of a task in an application's own reactor: its Deferred fails, and the reactor stops."""
    assert printed("twisted_programs.start", "system_exit", kind) == ["BaseExceptionGroup True"]


# Runs of ours


@pytest.mark.parametrize("kind", REACTORS)
def test_ten_runs_on_the_reactor_that_was_asked_for(kind: str) -> None:
    """One reactor serves ten runs, threads included; nothing is left behind, and the process ends by itself."""
    assert printed("twisted_programs.start", "ten_runs", kind) == [f"{REACTORS[kind]} 1"]


@pytest.mark.parametrize("kind", UNLIKE)
def test_stop_ends_a_run_for_good(kind: str) -> None:
    """``reactor.stop()`` inside a run lets it clean up; that error and the next run's say what happened."""
    cleaned, first, second = printed("twisted_programs.start", "stopped_run", kind)
    assert cleaned == "cleaned up"
    assert "stop()" in first
    assert "starts no reactor again" in second


def test_crash_ends_a_run_and_the_next_one_works() -> None:
    """``reactor.crash()`` by somebody inside a run: the tasks still clean up, and the error says so."""
    seen = []

    async def main() -> None:
        reactor = installed()
        reactor.callLater(0, reactor.crash)
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.001)
            seen.append("clean")

    with pytest.raises(RuntimeError, match=r"crash\(\)"):
        run(main)
    assert seen == ["clean"]
    run(echo_round)


@pytest.mark.parametrize("kind", UNLIKE)
def test_a_run_in_another_thread(kind: str) -> None:
    """It works there, a second one meanwhile is refused, and the main thread may run after it."""
    (said,) = printed("twisted_programs.start", "asked", kind)
    assert said.startswith("Twisted has one reactor in a process")
    assert said.endswith(" twisted")


def test_a_run_inside_a_run_is_refused() -> None:
    """The error says that there is one reactor, and what to do."""

    async def nothing() -> None:
        """Is not even called."""

    async def main() -> str:
        with pytest.raises(BackendBusyError) as caught:
            run(nothing)
        return str(caught.value)

    assert "await the function" in run(main)


def test_another_reactor_than_the_installed_one_is_refused() -> None:
    """A reactor is for the life of the process; the error names the one that is there, and it still runs."""
    run(echo_round)
    installed = type(sys.modules["twisted.internet.reactor"]).__name__
    others = [kind for kind, name in REACTORS.items() if name != installed]
    for kind in others:
        with pytest.raises(BackendBusyError, match=installed):
            run(echo_round, backend_options={"reactor": kind})
    same = [kind for kind, name in REACTORS.items() if name == installed]
    run(echo_round, backend_options={"reactor": same[0]})


@pytest.mark.parametrize(("options", "kind"), [({"reaktor": "epoll"}, TypeError), ({"reactor": "kpoll"}, ValueError)])
def test_an_unknown_option(options: dict[str, Any], kind: type[Exception]) -> None:
    """A misspelt option, or the name of a reactor that does not exist, is an error that names it."""
    with pytest.raises(kind, match=r"reaktor|kpoll"):
        run(echo_round, backend_options=options)


def test_in_an_asyncio_task_a_run_carries_itself() -> None:
    """Blocking as it is, a run on Twisted inside an asyncio task is on Twisted, and asyncio's task is again its own."""

    async def inside() -> str:
        await bridgeio.sleep(0)
        return bridgeio.current_backend()

    async def native() -> list[str]:
        if type(sys.modules.get("twisted.internet.reactor")).__name__ == REACTORS["asyncio"]:
            pytest.skip("a thread runs one asyncio loop")
        return [run(inside), bridgeio.current_backend()]

    assert asyncio.run(native()) == ["twisted", "asyncio"]


def test_a_task_left_behind_is_ended_with_the_run() -> None:
    """What ``as_deferred`` started is cancelled at the end of the run, and its cleanup is waited for."""
    ended = []

    async def lasting() -> None:
        try:
            await Deferred()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.001)
            ended.append("lasting")

    async def main() -> None:
        as_deferred(lasting()).addErrback(lambda failure: ended.append(repr(failure.type)))
        await bridgeio.sleep(0)

    run(main)
    assert ended == ["lasting", repr(CancelledError)]


def test_a_generator_left_behind_is_closed_in_the_run() -> None:
    """Still referred to when the main function ends: its cleanup may wait all the same."""
    kept: list[Any] = []
    seen = []

    async def ticks() -> Any:
        try:
            yield 1
        finally:
            await bridgeio.sleep(0.001)
            seen.append(bridgeio.current_backend())

    async def main() -> None:
        kept.append(ticks())
        assert await anext(kept[0]) == 1

    run(main)
    assert seen == ["twisted"]


def test_a_generator_that_is_being_closed_is_waited_for() -> None:
    """The collector found it before the main function ended: its cleanup is not cut short."""
    seen = []

    async def ticks() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            seen.append("closing")
            await bridgeio.sleep(0.001)
            seen.append("closed")

    async def main() -> None:
        async for _ in ticks():
            break
        while not seen:
            await turn(installed())

    run(main)
    assert seen == ["closing", "closed"]


def test_a_busy_task_leaves_turns_to_the_reactor() -> None:
    """A task that gives way in a loop has the reactor look at its timers in between."""

    async def main() -> None:
        rung = turn(installed())
        steps = 0
        while not rung.called:
            steps += 1
            await current_task().give_way()
        assert steps < 10

    run(main)


def test_tasks_that_wake_each_other_leave_turns_to_the_reactor() -> None:
    """At most 64 steps come between two turns of the reactor."""
    steps = 0

    async def main() -> None:
        rung = turn(installed())
        there, back = [bridgeio.Event()], [bridgeio.Event()]

        async def play(mine: list[bridgeio.Event], other: list[bridgeio.Event]) -> None:
            nonlocal steps
            while not rung.called:
                steps += 1
                await mine[0].wait()
                mine[0] = bridgeio.Event()
                other[0].set()
            other[0].set()

        async with bridgeio.create_task_group() as group:
            group.start_soon(play, there, back)
            group.start_soon(play, back, there)
            there[0].set()

    run(main)
    assert 10 < steps < 200  # many in one turn, and a turn after 64


# Ways out


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_comes_out_of_a_child(error: type[BaseException]) -> None:
    """Twisted logs what its callbacks raise, and goes on. These come out of ``run``, once all has ended."""

    async def raising() -> None:
        raise error

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(raising)
            await bridgeio.sleep_forever()

    with pytest.raises(error):
        run(main)
    run(echo_round)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_comes_out_of_a_deferreds_task(error: type[BaseException]) -> None:
    """Out of a task that nobody waits for, it ends the main function and comes out of ``run``."""

    async def raising() -> None:
        raise error

    async def main() -> None:
        as_deferred(raising()).addErrback(lambda failure: None)
        await bridgeio.sleep_forever()

    with pytest.raises(error):
        run(main)


def test_what_ends_a_program_comes_out_of_a_callback() -> None:
    """One that the reactor calls for us may raise it, too; another error there is logged, and ends nothing."""

    async def main() -> None:
        host = current_host()
        host.call_soon_threadsafe(fail)
        await turn(installed())
        host.call_soon_threadsafe(sys.exit)
        await bridgeio.sleep_forever()

    def fail() -> None:
        raise ValueError("for the log")

    logged: list[Any] = []
    log: Any = globalLogPublisher
    log.addObserver(logged.append)
    try:
        with pytest.raises(SystemExit):
            run(main)
    finally:
        log.removeObserver(logged.append)
    assert ["for the log" in str(event["log_failure"]) for event in logged if "log_failure" in event] == [True]


@contextmanager
def started(program: str, kind: str) -> Iterator[Program]:
    with Program(
        command("twisted_programs.start", program, kind), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", REACTORS)
def test_a_server_is_drained_by_a_signal(kind: str, number: signal.Signals) -> None:
    """``run_server`` on each reactor serves, drains at SIGINT or SIGTERM, and ends well."""
    with started("served", kind) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert bridgeio.run(ask, port, b"hello") == b"hello"
        process.send_signal(number)
        said, complaints = process.ended()
    assert (said, complaints, process.returncode) == ("drained\n", "", 0)


@pytest.mark.parametrize("kind", UNLIKE)
def test_an_interrupt_wakes_a_sleeping_reactor(kind: str) -> None:
    """SIGINT cancels the main function, which cleans up; KeyboardInterrupt comes out, and the handler is as before."""
    with started("interrupted", kind) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        said, complaints = process.ended()
    assert (said, complaints) == ("cleaned up\ninterrupted True\n", "")


def test_sigterm_ends_a_run_as_ever() -> None:
    """Twisted's own handler would swallow it for good; a run installs none."""
    with started("interrupted", "epoll") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM


def test_an_applications_interrupt_handler_stays() -> None:
    """A program that handles SIGINT itself goes on doing so inside a run."""
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("mine"))

    async def main() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await bridgeio.sleep(0)

    try:
        run(main)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["mine"]


# Descriptors


def test_more_descriptors_than_select_can_watch() -> None:
    """With 1,100 open, streams work on the select reactor too: the one descriptor it watches is a low one."""
    assert printed("twisted_programs.start", "many_descriptors", "select") == ["done"]


def test_no_descriptor_that_select_can_watch() -> None:
    """Nothing hangs: the run fails with words, leaves nothing, and the next one works."""
    why, done = printed("twisted_programs.start", "no_low_descriptor", "select")
    assert "all below are in use" in why
    assert done == "done"


def test_a_run_ends_its_threads() -> None:
    """Twisted's threads, which a crashed reactor would keep, are gone when a run returns."""

    async def main() -> int:
        return await deferToThread(threading.active_count)

    before = threading.active_count()
    assert run(main) > before
    assert threading.active_count() == before
