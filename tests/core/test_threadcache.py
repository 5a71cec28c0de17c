"""The cache of worker threads, without any run."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path

from bridgeio.crossing import Answer
from bridgeio.threadcache import Tell, ThreadCache
from bridgeio.unpatched import original
from fresh import run_isolated

THREADING_WANTED = """
from bridgeio.crossing import Answer
from bridgeio.threadcache import cache

def work():
    import threading
    asked = threading.current_thread()
    return lambda: there.give(asked)

there = Answer()
cache.start(work)
worker = there.wait()
import threading
print(threading.main_thread() is threading.current_thread() is not worker)
"""


def test_a_thread_is_idle_before_it_tells() -> None:
    """Who hears that work is done finds the thread idle: it can give it more at once, or have it end."""
    cache = ThreadCache()
    idle: Answer[int] = Answer()

    def work() -> Tell:
        return lambda: idle.give(cache.idle)

    cache.start(work)
    assert idle.wait() == 1
    cache.end_idle()
    assert cache.idle == 0


def test_a_thread_is_used_again() -> None:
    """Work that comes when a thread is idle is done by that one; two at once are done by two."""
    cache = ThreadCache()
    used: list[int] = []

    def work_for(done: Answer[None]) -> Tell:
        used.append(original("_thread", "get_native_id")())
        return lambda: done.give(None)

    for _ in range(3):
        done: Answer[None] = Answer()
        cache.start(lambda done=done: work_for(done))  # type: ignore[misc]
        done.wait()
    assert len(set(used)) == 1
    cache.end_idle()


def test_a_forked_child_has_no_idle_threads() -> None:
    """Threads do not survive a fork: the child's cache is empty, and starts its own."""
    cache = ThreadCache()
    done: Answer[None] = Answer()
    cache.start(lambda: lambda: done.give(None))
    done.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's, about forks in processes with threads
        pid = original("os", "fork")()
    if pid == 0:
        signal.alarm(30)  # nobody else would end a child that hangs
        again: Answer[None] = Answer()
        before = cache.idle
        cache.start(lambda: lambda: again.give(None))
        again.wait()
        os._exit(before)
    _, status = original("os", "waitpid")(pid, 0)
    assert status == 0
    cache.end_idle()


def test_no_thread_is_taken_for_the_main_one(tmp_path: Path) -> None:
    """``threading`` takes the thread that loads it for the main one: here that cannot be one of ours."""
    assert run_isolated(THREADING_WANTED, tmp_path) == "True\n"
