"""Ctrl-C in an application that runs its own loop, with tasks of ours in it: the loop's way, and our cleanup."""

from __future__ import annotations

import signal

import pytest

from bridgeio.registry import is_installed
from bridgeio.testing.programs import program

COMMON = """
import asyncio
import signal

async def child():
    try:
        print("ready", flush=True)
        await bridgeio.sleep_forever()
    finally:
        with bridgeio.CancelScope(shield=True):
            await bridgeio.sleep(0.001)
        print("cleaned child")

async def work():
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
    finally:
        with bridgeio.CancelScope(shield=True):
            await bridgeio.sleep(0.001)
        print("cleaned work")

def run_asyncio():
    asyncio.run(work())

def run_trio():
    import trio
    trio.run(work)

def run_tornado():
    from tornado.ioloop import IOLoop
    IOLoop.current().call_later(0, interrupt_when_ready)
    IOLoop.current().run_sync(work)

def interrupt_when_ready():
    from tornado.ioloop import IOLoop
    if "sleeping" in bridgeio.dump_tasks():
        signal.raise_signal(signal.SIGINT)
    IOLoop.current().call_later(0.001, interrupt_when_ready)

def run_twisted():
    from twisted.internet import reactor
    from bridgeio_twisted import as_deferred
    as_deferred(work()).addErrback(lambda failure: print(failure.type.__name__))
    reactor.run()
    print("left in order")

def run_gevent():
    import gevent
    gevent.get_hub()
    bridgeio.blocking(work)()

def run_threads():
    bridgeio.blocking(work)()

try:
    globals()["run_" + BACKEND]()
except* KeyboardInterrupt:  # of a group of ours it comes in an exception group, as every failure
    print("interrupted")
"""

CLEANED = ["cleaned child", "cleaned work"]
SAID = {
    "asyncio": [*CLEANED, "interrupted"],
    "trio": [*CLEANED, "interrupted"],
    "twisted": [*CLEANED, "CancelledError", "left in order"],  # the reactor takes SIGINT as stop()
    "gevent": [*CLEANED, "interrupted"],
    "threads": [*CLEANED, "interrupted"],
}


@pytest.mark.parametrize("framework", SAID)
def test_ctrl_c_in_a_native_application(framework: str) -> None:
    """SIGINT ends it as the framework has it; our tasks' cleanup runs to its end, waits included, children first."""
    if not is_installed(framework):
        pytest.skip(f"{framework} is not installed")
    with program(COMMON, framework) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        said, complaint = running.ended()
    assert (said.splitlines(), running.returncode) == (SAID[framework], 0), complaint
    assert framework == "gevent" or not complaint  # its hub says so when it is interrupted


def test_ctrl_c_in_run_sync() -> None:
    """Tornado lets it out, and leaves its loop as it stands: no cleanup runs, ours no more than Tornado's."""
    if not is_installed("tornado"):
        pytest.skip("tornado is not installed")
    with program(COMMON, "tornado") as running:
        said, complaint = running.ended()
    assert (said.splitlines(), running.returncode) == (["ready", "interrupted"], 0), complaint
