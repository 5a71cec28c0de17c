"""Noticing the end of a child: by a pidfd, by a thread, and where nothing is left to do it with."""

from __future__ import annotations

import _thread
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridgeio.children import is_child, start_child
from bridgeio.testing.children import children_of, is_gone
from bridgeio.watching import WatchingPoller
from descriptors import open_descriptors
from fake_host import FakeHost


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """A host on which nothing runs by itself."""
    host = FakeHost()
    host.poller()
    yield host
    host.close()


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """No test leaves a child, nor a zombie."""
    before = children_of(os.getpid())
    yield
    assert children_of(os.getpid()) <= before


def start(host: FakeHost, command: str, told: Callable[[int | None], object]) -> int:
    return start_child(host, {"args": ["sh", "-c", command]}, told)


def wait_for_end(pid: int) -> None:
    """Until it has ended; its code stays where it is."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@pytest.fixture(params=["absent", "EMFILE", "EPERM"])
def without_pidfd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform has none, there is no descriptor left for one, or a sandbox forbids it."""
    if request.param == "absent":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    else:
        error = OSError(getattr(errno, request.param), "refused")

        def refuse(pid: int) -> int:
            raise error

        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)


def called(host: FakeHost) -> None:
    """Waits for what a thread asks the host to call, and calls it."""
    while not host.soon:
        threading.Event().wait(0.001)
    while host.soon:
        host.soon.pop()()


def test_told_once_by_the_poller(host: FakeHost) -> None:
    """The code is told when the host has its turn after the end, and nothing stays open."""
    before = open_descriptors()
    told: list[int | None] = []
    pid = start(host, "exit 3", told.append)
    assert told == []
    wait_for_end(pid)
    host.turn()
    host.turn()
    assert told == [3]
    assert not open_descriptors() - before


def test_told_by_a_watch() -> None:
    """Where each descriptor is watched by the host itself this one is from the beginning: nobody may be waiting."""
    host = FakeHost(WatchingPoller)
    told: list[int | None] = []
    wait_for_end(start(host, "exit 3", told.append))
    host.turn()
    assert told == [3]
    assert [watch for watch in host.watches if not watch.cancelled] == []


def test_told_by_a_thread(host: FakeHost, without_pidfd: None) -> None:
    """It says that the child has ended and leaves the code to the host: until then the number is the child's."""
    told: list[int | None] = []
    pid = start(host, "exit 3", told.append)
    wait_for_end(pid)
    while not host.soon:
        threading.Event().wait(0.001)
    assert (told, is_child(pid)) == ([], True)
    called(host)
    assert (told, is_gone(pid)) == ([3], True)


def test_told_by_a_thread_that_has_to_take_the_code(
    host: FakeHost, without_pidfd: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS before Python 3.13: there is no way to wait and leave it."""
    monkeypatch.delattr(os, "waitid")
    told: list[int | None] = []
    pid = start(host, "exit 3", told.append)
    called(host)
    assert told == [3]
    assert is_child(pid)  # nobody can tell


def test_a_thread_whose_host_has_ended(host: FakeHost, without_pidfd: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the code itself, so that no zombie stays."""

    def ended(callback: object) -> None:
        raise RuntimeError("this host has ended")

    monkeypatch.setattr(host, "call_soon_threadsafe", ended)
    told: list[int | None] = []
    pid = start(host, "exit 3", told.append)
    while not is_gone(pid):
        threading.Event().wait(0.001)
    assert told == []


def test_nothing_left_to_watch_with(host: FakeHost, without_pidfd: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is ended at once, and the caller hears why."""

    def refuse(*arguments: Any) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    told: list[int | None] = []
    with pytest.raises(OSError, match="no thread left") as raised:
        start(host, "sleep 1000", told.append)
    assert raised.value.errno == errno.EAGAIN
    assert told == []


def test_a_poller_that_refuses(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same if the poller takes no more descriptors; the pidfd is closed."""

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "no watch left")

    before = open_descriptors()
    monkeypatch.setattr(host.poller(), "_add", refuse)
    with pytest.raises(OSError, match="no watch left"):
        start(host, "sleep 1000", lambda code: None)
    assert not open_descriptors() - before


@pytest.mark.parametrize("way", ["poller", "thread"])
def test_a_code_that_was_taken(host: FakeHost, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Somebody else was faster: it is told as lost, and not as a code that nobody gave."""
    if way == "thread":
        monkeypatch.delattr(os, "pidfd_open")
    told: list[int | None] = []
    pid = start(host, "exit 3", told.append)
    assert os.waitpid(pid, 0) == (pid, 3 << 8)
    if way == "thread":
        called(host)
    host.turn()
    assert told == [None]
    assert not is_child(pid)


def test_the_end_of_the_run(host: FakeHost) -> None:
    """A child that has ended by then is told and reaped; one that goes on is the standard library's from then on."""
    told: list[tuple[str, int | None]] = []
    first = start(host, "exit 3", lambda code: told.append(("first", code)))
    second = start(host, "exec sleep 1000", lambda code: told.append(("second", code)))
    wait_for_end(first)
    with pytest.warns(ResourceWarning, match="still running"):
        host.poller().end()
    assert told == [("first", 3)]
    os.kill(second, signal.SIGKILL)
    os.waitpid(second, 0)


def test_a_fork_leaves_it_to_the_parent(host: FakeHost) -> None:
    """What a forked child's poller abandons is neither asked for nor told there."""
    told: list[int | None] = []
    pid = start(host, "exit 3", told.append)
    source = next(iter(host.poller().sources.values()))
    source.registered = False
    wait_for_end(pid)
    source.on_event(1)
    assert told == []
    source.registered = True
    source.on_event(1)
    assert told == [3]
