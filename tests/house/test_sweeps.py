"""Every public async function is swept: a cancel has met a wait in it, or there is a reason why none can.

Nobody keeps a list of what is swept. The chapters are run, and tell in which functions their cancels met a
wait; the functions are found by what the doors of the library lead to.
"""

from __future__ import annotations

import ast
import inspect
import ssl
import subprocess
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any, get_type_hints

import pytest

import bridgeio
from bridgeio import from_thread, lowlevel, running, to_process, to_thread
from checkout import ROOT
from fresh import plugin_options, run

# Those in which no cancel can meet a wait, and why. One in which one did must not stand here.
NEVER_WAIT = {
    "bridgeio.barriers.Barrier.__aexit__": "does nothing",
    "bridgeio.channels._End.__aenter__": "does nothing",
    "bridgeio.channels._End.__aexit__": "closes, which needs no wait",
    "bridgeio.channels._End.aclose": "closes, which needs no wait",
    "bridgeio.datagrams.DatagramSocket.__aenter__": "does nothing",
    "bridgeio.datagrams.DatagramSocket.__aexit__": "closes, which needs no wait",
    "bridgeio.datagrams.DatagramSocket.aclose": "closes, which needs no wait",
    "bridgeio.files.AsyncFile.__aenter__": "does nothing",
    "bridgeio.groups.TaskGroup.__aenter__": "opens a scope; on Trio a nursery, which does not wait either",
    "bridgeio.locks.Condition.__aexit__": "releases, which needs no wait",
    "bridgeio.locks.Lock.__aexit__": "releases, which needs no wait",
    "bridgeio.lowlevel.checkpoint_if_cancelled": "gives way only where it raises after that",
    "bridgeio.portals.BlockingPortal.__aenter__": "enters a task group, which does not wait",
    "bridgeio.portals.BlockingPortal.stop": "tells others, which needs no wait",
    "bridgeio.processes.Process.__aenter__": "does nothing",
    "bridgeio.semaphores.CapacityLimiter.__aexit__": "releases, which needs no wait",
    "bridgeio.semaphores.Semaphore.__aexit__": "releases, which needs no wait",
    "bridgeio.writer.Writer.__aenter__": "does nothing",
}

# Those that only the library itself calls, and from where.
WITHIN = {
    "bridgeio.server.Server.close_rest": "the end of a server's block, behind a shield; it is swept",
    "bridgeio.writer.Writer.wait_flushed": "the end of a run, behind a shield, when no task of the user's is left",
}

# Those that could be thought to wait, and have nothing async: a guard raises at once if another task is inside.
# The calls that `blocking` makes are swept in tests/adapters/test_blocking_sweeps.py.
SYNCHRONOUS = [
    bridgeio.ResourceGuard,
    bridgeio.CancelScope,
    bridgeio.TaskInfo,
    bridgeio.blocking,
    bridgeio.run,
    bridgeio.run_server,
    from_thread.BlockingPortalProvider,
    from_thread.run,
    from_thread.run_sync,
    from_thread.start_blocking_portal,
]

# What public annotations name, and the core has not imported by then.
IMPORTED_WHEN_ASKED = {
    "CompletedProcess": subprocess.CompletedProcess,
    "SSLContext": ssl.SSLContext,
    "SSLSession": ssl.SSLSession,
    "ssl": ssl,
}

PROBE = """
import sys
import pytest

class Listener:
    swept = []
    def pytest_runtest_logreport(self, report):
        self.swept += [value for key, value in report.user_properties if key == 'bridgeio_swept']

listener = Listener()
ended = pytest.main(sys.argv[1:], plugins=[listener])
print(f"\\n{[int(ended), listener.swept]!r}")
"""


def doors() -> Iterator[Any]:
    """What users can name, what that returns, and the body of `run_server`."""
    for module in (bridgeio, from_thread, lowlevel, to_process, to_thread):
        for name in module.__all__:
            thing = getattr(module, name)
            yield thing
            if isinstance(thing, FunctionType):
                yield get_type_hints(thing, localns=IMPORTED_WHEN_ASKED).get("return")
    yield running.serve_until_signal


def async_functions() -> dict[str, FunctionType]:
    """Behind all doors, each where it is defined, with its module before its name."""
    found: dict[str, FunctionType] = {}
    for door in doors():
        for thing in vars_of(door):
            if inspect.iscoroutinefunction(thing) and thing.__module__.startswith("bridgeio."):
                found[f"{thing.__module__}.{thing.__qualname__}"] = thing
    return found


def vars_of(door: Any) -> Iterator[Any]:
    """The function itself; of a class, all its methods for users, those that it inherits too."""
    if not inspect.isclass(door):
        yield door
        return
    for kind in door.__mro__:
        for name, thing in vars(kind).items():
            if not name.startswith("_") or name.startswith("__a"):
                yield thing


@pytest.fixture(scope="module")
def met() -> dict[str, set[str]]:
    """The functions in which a cancel has met a wait, each with the sweeps that brought it there."""
    chapters = sorted((ROOT / "tests/conformance").glob("test_sweeps*.py"))
    options = ["-q", *plugin_options(), "-p", "no:cacheprovider", "--backend", "asyncio"]
    said = run(sys.executable, "-c", PROBE, *chapters, *options, cwd=ROOT)
    ended, swept = ast.literal_eval(said.splitlines()[-1])
    assert ended == 0, said
    found: dict[str, set[str]] = {}
    for operation, _, _, _, functions in swept:
        for function in functions:
            found.setdefault(function, set()).add(operation)
    return found


@pytest.mark.parametrize("name", sorted(async_functions().keys() - NEVER_WAIT.keys() - WITHIN.keys()))
def test_every_async_function_is_swept(name: str, met: dict[str, set[str]]) -> None:
    """A cancel has met a wait of it, in an operation that called it by itself."""
    assert met.get(name), f"no sweep has cancelled {name} in a wait: write one, or say why it never waits"


def test_what_never_waits_was_not_seen_to_wait(met: dict[str, set[str]]) -> None:
    """A reason that has become wrong would hide what is not swept; one for what is no more would, too."""
    assert sorted((NEVER_WAIT.keys() | WITHIN.keys()) & met.keys()) == []
    assert sorted((NEVER_WAIT.keys() | WITHIN.keys()) - async_functions().keys()) == []


@pytest.mark.parametrize("thing", SYNCHRONOUS, ids=lambda thing: str(thing.__name__))
def test_what_is_synchronous_has_nothing_to_sweep(thing: Any) -> None:
    """What has no async function has no wait in which it could be cancelled by a scope around it."""
    assert [found for found in vars_of(thing) if inspect.iscoroutinefunction(found)] == []


def test_the_doors_lead_to_what_users_call() -> None:
    """A search that finds nothing would find all of it swept."""
    known = {
        "bridgeio.client.open_connection",
        "bridgeio.queues.Queue.__anext__",
        "bridgeio.server.Serving.__aenter__",
        "bridgeio.ticks.Ticks.__anext__",
        "bridgeio.lowlevel.checkpoint",
        "bridgeio.channels.MemoryObjectSendStream.send",
    }
    assert known <= async_functions().keys()
