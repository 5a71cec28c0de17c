"""Processes of bridgeio's beside those of the framework's own, in one program; and in any thread."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.children import is_gone, zombies
from bridgeio.testing.resources import until
from fresh import run
from loops import run_native

DATA = b"x" * 300_000
STUBBORN = "trap '' TERM; echo ready; while true; do sleep 0.01; done"


async def several_of_ours(count: int = 5) -> list[int]:
    """Programs of ours at the same time, fed and read; the codes that they say they ended with."""
    codes: list[int] = []

    async def one(code: int) -> None:
        done = await bridgeio.run_process(f"cat; exit {code}", input=DATA, check=False)
        assert done.stdout == DATA
        codes.append(done.returncode)

    async with bridgeio.create_task_group() as group:
        for code in range(count):
            group.start_soon(one, code)
    return sorted(codes)


async def ended_by_us() -> int:
    """The code of a program that was killed."""
    async with await bridgeio.open_process(["cat"]) as process:
        process.kill()
        return await process.wait()


async def asyncios_own(code: int) -> int:
    process = await asyncio.create_subprocess_exec("sh", "-c", f"read x; exit {code}", stdin=asyncio.subprocess.PIPE)
    await process.communicate(b"\n")
    assert process.returncode is not None
    return process.returncode


@pytest.mark.parametrize("world", ["asyncio", "uvloop", "tornado", "native asyncio", "native uvloop"])
def test_beside_asyncios(world: str) -> None:
    """`asyncio.create_subprocess_exec` and `run_process` in turn and at once: each gets its own codes, none is lost."""
    kind, _, name = world.rpartition(" ")
    if name != "asyncio":
        pytest.importorskip(name)

    async def main() -> None:
        theirs = asyncio.gather(*(asyncios_own(code) for code in range(10, 15)))
        assert await several_of_ours() == list(range(5))
        assert await theirs == list(range(10, 15))
        assert await asyncios_own(3) == 3
        assert await ended_by_us() == -signal.SIGKILL

    run_native(name, main) if kind else bridgeio.run(main, backend=name)
    assert zombies() == set()


@pytest.mark.parametrize("world", ["asyncio", "uvloop"])
def test_a_native_cancel_leaves_none_behind(world: str) -> None:
    """`Task.cancel`, again and again: it comes out as what it is, once the program is gone."""
    pytest.importorskip(world)

    async def hold(opened: list[bridgeio.Process]) -> None:
        async with await bridgeio.open_process(STUBBORN, grace=0.1) as process:
            await process.stdout.readline()  # type: ignore[union-attr]
            opened.append(process)
            await asyncio.sleep(1000)

    async def main() -> None:
        opened: list[bridgeio.Process] = []
        task = asyncio.create_task(hold(opened))
        await until(lambda: opened)
        while not task.done():
            task.cancel("from outside")
            await asyncio.sleep(0.01)
        assert opened[0].returncode == -signal.SIGKILL
        assert is_gone(opened[0].pid)
        with pytest.raises(asyncio.CancelledError):
            await task

    run_native(world, main)


def test_a_kill_leaves_none_behind() -> None:
    """The same for `Greenlet.kill`."""
    gevent = pytest.importorskip("gevent")
    import bridgeio_gevent

    async def hold(opened: list[bridgeio.Process]) -> None:
        async with await bridgeio.open_process(STUBBORN, grace=0.1) as process:
            await process.stdout.readline()  # type: ignore[union-attr]
            opened.append(process)
            gevent.sleep(1000)

    async def main() -> None:
        opened: list[bridgeio.Process] = []
        greenlet = bridgeio_gevent.spawn(hold, opened)
        while not opened:
            gevent.sleep(0.001)
        while not greenlet.dead:
            greenlet.kill(block=False)
            gevent.sleep(0.01)
        assert opened[0].returncode == -signal.SIGKILL
        assert is_gone(opened[0].pid)

    bridgeio.run(main, backend="gevent")


def test_beside_trios() -> None:
    """`trio.run_process` in a nursery, and ours in a group of ours."""
    trio = pytest.importorskip("trio")
    theirs: list[int] = []

    async def one(code: int) -> None:
        done = await trio.run_process(["sh", "-c", f"exit {code}"], check=False)
        theirs.append(done.returncode)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for code in range(10, 15):
                nursery.start_soon(one, code)
            assert await several_of_ours() == list(range(5))
        assert sorted(theirs) == list(range(10, 15))
        assert await ended_by_us() == -signal.SIGKILL

    bridgeio.run(main, backend="trio")
    assert zombies() == set()


TWISTED = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
import bridgeio
from bridgeio_twisted import as_deferred
from test_processes_beside import ended_by_us, several_of_ours

class Ended(ProcessProtocol):
    def __init__(self):
        self.code = Deferred()
    def processEnded(self, reason):
        self.code.callback(reason.value.exitCode)

def theirs(code):
    protocol = Ended()
    reactor.spawnProcess(protocol, "/bin/sh", ["sh", "-c", f"exit {code}"], env=None)
    return protocol.code

async def main():
    waiting = [theirs(code) for code in range(10, 15)]
    assert await several_of_ours() == list(range(5))
    assert [await code for code in waiting] == list(range(10, 15))
    assert await theirs(3) == 3
    assert await ended_by_us() == -9
    print("each has its own")

def start():
    done = as_deferred(main())
    done.addErrback(lambda failure: failure.printTraceback(sys.stdout))
    done.addBoth(lambda result: reactor.stop())

reactor.callWhenRunning(start)
reactor.run()
"""

GEVENT = """
import sys
if {patched}:
    import gevent.monkey
    gevent.monkey.patch_all()
import gevent
from gevent import subprocess
import bridgeio
import bridgeio_gevent
from bridgeio.testing.children import is_gone, zombies
from test_processes_beside import ended_by_us, several_of_ours

def theirs(code):
    return subprocess.run(["sh", "-c", f"exit {{code}}"]).returncode

async def main():
    waiting = [gevent.spawn(theirs, code) for code in range(10, 15)]
    assert await several_of_ours() == list(range(5))
    assert [greenlet.get() for greenlet in waiting] == list(range(10, 15))
    assert theirs(3) == 3
    assert await ended_by_us() == -9
    assert zombies() == set()

bridgeio.run(main, backend="gevent")
bridgeio_gevent.spawn(main).get()
print("each has its own")
"""


def program(text: str, folder: Path) -> str:
    """What it prints, with this folder's and the helpers' modules at hand."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return run(sys.executable, "-c", text, cwd=folder, env={**os.environ, "PYTHONPATH": path}).strip()


def test_beside_twisteds(tmp_path: Path) -> None:
    """`reactor.spawnProcess` in a reactor that handles SIGCHLD, and ours in a coroutine that awaits its Deferreds."""
    pytest.importorskip("twisted")
    assert program(TWISTED, tmp_path) == "each has its own"


@pytest.mark.parametrize("patched", [False, True])
def test_beside_gevents(tmp_path: Path, patched: bool) -> None:
    """`gevent.subprocess` makes libev take the code of every child: ours are told theirs all the same."""
    pytest.importorskip("gevent")
    assert program(GEVENT.format(patched=patched), tmp_path) == "each has its own"


WITHOUT_LIBEV = """
import signal
import sys
if {patched}:
    import gevent.monkey
    gevent.monkey.patch_all()
import bridgeio
from bridgeio.testing.children import zombies
from test_processes_beside import both

async def main():
    await both()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    print(await both())
    assert zombies() == set()

bridgeio.run(main, backend="gevent")
"""


@pytest.mark.parametrize("patched", [False, True])
def test_after_somebody_took_the_signal_from_gevent(tmp_path: Path, patched: bool) -> None:
    """libev is told of no child any more, so `gevent.subprocess` waits for ever: ours end, with the right codes."""
    pytest.importorskip("gevent")
    assert program(WITHOUT_LIBEV.format(patched=patched), tmp_path) == "([0, 1, 2, 3, 4], -9)"


def in_a_thread(function: Callable[[], Any]) -> Any:
    """What it returns, or its error, from a thread that is not the main one."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return outcome.pop()


async def both() -> tuple[list[int], int]:
    return await several_of_ours(), await ended_by_us()


@pytest.mark.parametrize("backend", ["asyncio", "uvloop", "trio", "tornado", "twisted", "threads"])
def test_in_another_thread(backend: str) -> None:
    """No signal comes there, and none is needed."""
    pytest.importorskip(f"bridgeio_{backend.replace('uvloop', 'asyncio')}")
    if backend not in bridgeio.available_backends():
        pytest.skip(f"{backend} is not installed")
    assert in_a_thread(lambda: bridgeio.run(both, backend=backend)) == ([0, 1, 2, 3, 4], -signal.SIGKILL)
    assert zombies() == set()


ELSEWHERE = """
import sys
if {patched}:
    import gevent.monkey
    gevent.monkey.patch_all()
import bridgeio
from test_processes_beside import both, in_a_thread

def outcome():
    try:
        return bridgeio.run(both, backend="gevent")
    except BaseException as error:
        return repr(error)

if {patched}:
    from gevent import get_hub
    print(get_hub().threadpool.apply(outcome))
else:
    print(in_a_thread(outcome))
"""


@pytest.mark.parametrize("patched", [False, True])
def test_in_a_hub_of_another_thread(tmp_path: Path, patched: bool) -> None:
    """A hub of gevent's there watches a child without libev; after patching it cannot, and says so."""
    pytest.importorskip("gevent")
    said = program(ELSEWHERE.format(patched=patched), tmp_path)
    assert ("starts processes in the main thread alone" in said) if patched else (said == "([0, 1, 2, 3, 4], -9)")


IN_A_PATCHED = """
import gevent.monkey
gevent.monkey.patch_all()
import bridgeio
from bridgeio.testing.children import children_of
from test_processes_beside import both, ended_by_us

try:
    print(bridgeio.run({function}, backend={backend!r}))
except* RuntimeError as errors:
    print(errors.exceptions[0])
assert children_of(__import__("os").getpid()) == set()
"""


@pytest.mark.parametrize(
    ("backend", "function", "said"),
    [
        ("asyncio", "both", "([0, 1, 2, 3, 4], -9)"),
        ("threads", "ended_by_us", "-9"),
        ("threads", "both", "gevent has patched subprocess, and starts processes in the main thread alone"),
    ],
)
def test_in_a_patched_process_on_another_backend(tmp_path: Path, backend: str, function: str, said: str) -> None:
    """gevent's ``Popen`` is the only one there: the codes are right, and a task in another thread gets an error."""
    pytest.importorskip("gevent")
    assert program(IN_A_PATCHED.format(function=function, backend=backend), tmp_path) == said
