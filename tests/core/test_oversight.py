"""A watchdog over a host that is none, and the signal where Python takes no handlers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from bridgeio.oversight import ENVIRONMENT, Oversight
from bridgeio.tasks import TaskInfo
from bridgeio.watchdog import watched

LIMIT = 0.01


class Suspect:
    """A task that looks as if it ran."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.coro = None
        self.abort = None
        self.host = FakeHost()

    def info(self) -> TaskInfo:
        return TaskInfo(id(self), None, self.name, None, bool)

    def running_in(self) -> int:
        return threading.get_ident()

    def innermost_frame(self) -> None:
        return None


class FakeHost:
    """Keeps what it is asked to call, and runs each of its tasks in turn.

    :ivar looks: how often somebody has looked who runs.
    """

    backend = "fake"
    machinery = ()

    def __init__(self) -> None:
        self.tasks: list[Suspect] = []
        self.calls: list[Callable[[], None]] = []
        self.looks = 0
        self.looked_enough = threading.Event()

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.calls.append(callback)

    def census(self) -> list[Suspect]:
        self.looks += 1
        if self.looks >= 40:
            self.looked_enough.set()
        return [self.tasks[self.looks % len(self.tasks)]] if self.tasks else []


def look_at(tasks: list[Suspect], caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the watchdog has said after forty looks at a host that never answers."""
    host: Any = FakeHost()
    host.tasks = tasks
    with watched(host, LIMIT):
        assert host.looked_enough.wait(30)
    return [record.getMessage() for record in caplog.records if record.name == "bridgeio.watchdog"]


def test_one_that_always_runs_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """Who is found running at each look is the culprit, and is named once for each time."""
    messages = look_at([Suspect("Max")], caplog)
    assert len(messages) == 1
    assert "task Max (fake)" in messages[0]


def test_many_that_take_turns_are_not(caplog: pytest.LogCaptureFixture) -> None:
    """A host that is busy with one task after the other has no culprit, however late it answers."""
    assert look_at([Suspect("Max"), Suspect("Moritz")], caplog) == []


def test_what_is_no_task_is_reported_as_such(caplog: pytest.LogCaptureFixture) -> None:
    """Where no task of ours runs and the host does not answer, the report has the thread's stack."""
    (message,) = look_at([], caplog)
    assert "code outside of bridgeio's tasks (fake)" in message
    assert "looked_enough.wait" in message


def test_who_was_stopped_with_the_whole_process_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """When a process or its machine stands still, nobody gives way meanwhile, and nobody could."""

    class StoppedHost(FakeHost):
        def census(self) -> list[Suspect]:
            end = monotonic() + 5 * LIMIT
            while monotonic() < end:
                pass
            self.calls.pop()()
            self.looks += 1
            self.looked_enough.set()
            return []

    host: Any = StoppedHost()
    with watched(host, LIMIT):
        assert host.looked_enough.wait(30)
    assert [record for record in caplog.records if record.name == "bridgeio.watchdog"] == []


def test_a_forked_child_does_not_wait_for_the_thread() -> None:
    """A child that leaves the block ends at once: the watchdog is the parent's."""
    host: Any = FakeHost()
    with watched(host, 60):
        child = os.fork()
    if child == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_other_threads_have_no_signals() -> None:
    """Asked for in another thread than the main one the dump is refused, with the reason."""
    said: list[str] = []

    def ask() -> None:
        with pytest.raises(RuntimeError) as caught, Oversight({"dump_on_signal": True}).around_run():
            raise AssertionError("it was entered")
        said.append(str(caught.value))

    _in_thread(ask)
    assert "main thread" in said[0]


def test_the_environment_asks_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment asks for is left out where it cannot be had, or where the application has its own
    handler; and it is not asked for by anything but 1."""
    entered: list[Any] = []

    def enter() -> None:
        with Oversight({}).around_run():
            entered.append(signal.getsignal(signal.SIGUSR1))

    monkeypatch.setenv(ENVIRONMENT, "1")
    _in_thread(enter)
    with _handled(applications_own):
        enter()
    monkeypatch.setenv(ENVIRONMENT, "0")
    enter()
    assert entered == [signal.SIG_DFL, applications_own, signal.SIG_DFL]
    monkeypatch.setenv(ENVIRONMENT, "1")
    enter()
    assert callable(entered[-1])
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_handler_that_was_set_meanwhile_stays() -> None:
    """The run takes back its own handler, and no other."""
    with _handled(signal.SIG_DFL):
        with Oversight({"dump_on_signal": True}).around_run():
            signal.signal(signal.SIGUSR1, applications_own)
        assert signal.getsignal(signal.SIGUSR1) is applications_own


def test_the_other_options_are_the_backends() -> None:
    """What is not for every backend is passed on, and what is, is not."""
    given = {"watchdog": 1.5, "dump_on_signal": False, "reactor": "poll"}
    assert Oversight(given).rest == {"reactor": "poll"}
    assert len(given) == 3


def applications_own(number: int, frame: object) -> None:
    """Never called."""


@contextmanager
def _handled(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _in_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
