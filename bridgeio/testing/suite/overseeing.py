"""The options that every backend takes: a watchdog over tasks that do not give way, and tasks shown on SIGUSR1."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio import create_task_group
from bridgeio.testing.programs import program
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

LIMIT = 0.05  # seconds; nothing here asks how long it took

ASLEEP = """
    async def say_so():
        print("ready", flush=True)

    async def main():
        async with bridgeio.create_task_group() as group:
            group.start_soon(say_so)  # runs once main has gone to sleep
            await bridgeio.sleep_forever()

    bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""


class Reports(logging.Handler):
    """What the watchdog says; a lock that is free again whenever it has said something."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._said = original("_thread", "allocate_lock")()
        self._said.acquire()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self._said.release()

    def block(self) -> None:
        """Keeps the caller's whole thread until there is a report, as a bad call in a task does."""
        self._said.acquire()


@contextmanager
def reports() -> Iterator[Reports]:
    logger = logging.getLogger("bridgeio.watchdog")
    handler = Reports()
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def run_watched(function: Callable[..., Any], *args: Any, backend: str, options: dict[str, Any]) -> Any:
    return bridgeio.run(function, *args, backend=backend, backend_options={**options, "watchdog": LIMIT})


def test_a_task_that_does_not_give_way_is_named(backend: str, backend_options: dict[str, Any]) -> None:
    """The watchdog reports a task that keeps the others from going on, while it does so: its name, and where
    it stands."""

    async def culprit() -> None:
        said.block()

    async def main() -> None:
        async with create_task_group() as group:
            group.start_soon(bridgeio.sleep_forever, name="innocent")
            group.start_soon(culprit, name="the culprit")
            await until(lambda: said.messages)
            group.cancel_scope.cancel()

    with reports() as said:
        run_watched(main, backend=backend, options=backend_options)
    assert len(said.messages) == 1
    assert "task the culprit" in said.messages[0]
    assert f"({backend})" in said.messages[0]
    assert "said.block()" in said.messages[0]
    assert "innocent" not in said.messages[0]


def test_each_offence_is_reported_once(backend: str, backend_options: dict[str, Any]) -> None:
    """A task that has been reported, gives way, and offends again, is reported again, and not more often."""

    async def main() -> None:
        for _ in range(3):
            said.block()
            await bridgeio.sleep(0.001)

    with reports() as said:
        run_watched(main, backend=backend, options=backend_options)
    assert len(said.messages) == 3


def test_the_watchdog_ends_with_its_run(backend: str, backend_options: dict[str, Any]) -> None:
    """After the run, whose function has failed, no thread of the watchdog's is left; during it there is one."""

    async def main() -> None:
        during.extend(thread.name for thread in threading.enumerate())
        raise ValueError("enough")

    during: list[str] = []
    before = threading.active_count()
    with pytest.raises(ValueError, match="enough"):
        run_watched(main, backend=backend, options=backend_options)
    assert threading.active_count() <= before
    if original("_thread", "start_new_thread") is _thread.start_new_thread:  # else it is none of threading's
        assert "bridgeio watchdog" in during


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("watchdog", 0, ValueError),
        ("watchdog", -1.5, ValueError),
        ("watchdog", float("nan"), ValueError),
        ("watchdog", float("inf"), ValueError),
        ("watchdog", "1", TypeError),
        ("watchdog", True, TypeError),
        ("dump_on_signal", 1, TypeError),
    ],
)
def test_a_wrong_value_is_refused(
    backend: str, backend_options: dict[str, Any], option: str, value: object, error: type[Exception]
) -> None:
    """It is an error that names the option and the value, and nothing has been started."""

    async def main() -> None:
        raise AssertionError("it was started")

    with pytest.raises(error, match=option) as caught:
        bridgeio.run(main, backend=backend, backend_options={**backend_options, option: value})
    assert repr(value) in str(caught.value)


def test_sigusr1_prints_the_tasks(backend: str, backend_options: dict[str, Any]) -> None:
    """With ``dump_on_signal`` a program that is asleep prints its tasks to stderr, as often as it is asked."""
    _see_asleep(ASLEEP, backend, {**backend_options, "dump_on_signal": True})


def test_sigusr1_asked_for_by_the_environment(backend: str, backend_options: dict[str, Any]) -> None:
    """``BRIDGEIO_DUMP_ON_SIGUSR1=1`` does the same for a program that does not know of it."""
    setting = """
    import os
    os.environ["BRIDGEIO_DUMP_ON_SIGUSR1"] = "1"
    """
    _see_asleep(setting + ASLEEP, backend, backend_options)


def _see_asleep(source: str, backend: str, options: dict[str, Any]) -> None:
    with program(source, backend, **options) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGUSR1)
        line = ""
        while not (line.startswith("  main: ") and "sleeping for ever" in line):
            line = running.stderr.readline()
            assert line, f"the program has ended with {running.wait()}"


def test_the_handler_is_restored(
    backend: str, backend_options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """What the application does on SIGUSR1 it does again after the run, which has only borrowed the signal."""

    async def main() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        await bridgeio.sleep(0)

    def applications(number: int, frame: object) -> None:
        raise AssertionError("the application's handler was called")

    before = signal.signal(signal.SIGUSR1, applications)
    try:
        bridgeio.run(main, backend=backend, backend_options={**backend_options, "dump_on_signal": True})
        assert signal.getsignal(signal.SIGUSR1) is applications
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "  main: " in capsys.readouterr().err


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
