"""What is peculiar to gevent, in plain and in patched processes; the promises are in `gevent_promises`."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from bridgeio.testing.proof import witness_of

pytest.importorskip("gevent", exc_type=ModuleNotFoundError)

import gevent_greenlets
import gevent_hubs
import gevent_neighbours
import gevent_promises
import gevent_waits

HELPERS = str(Path(gevent_promises.__file__).parent)

ROOMS = [gevent_promises, gevent_greenlets, gevent_waits, gevent_hubs, gevent_neighbours]
IMPORT = "import " + ", ".join(room.__name__ for room in ROOMS)
KEEP = f"import sys; sys.path.append({HELPERS!r}); {IMPORT}; gevent_promises.keep(sys.argv[1])"

# How a program comes to be: each line of code runs before anything else.
WORLDS = {
    "plain": "",
    "patched": "import gevent.monkey; gevent.monkey.patch_all();",
    "patched-late": "import bridgeio, gevent.monkey; bridgeio.registry.backend('gevent'); gevent.monkey.patch_all();",
}

# The other order of patching, and gevent's other loop, are tried with those that touch most.
SAMPLE = [
    "native_client_and_our_server",
    "our_client_and_native_server",
    "blocking_blocks_one_greenlet",
    "a_waiting_task_keeps_the_hub",
    "a_deadline_keeps_the_hub",
    "waiting_for_the_hub_returns",
    "a_scope_ends_a_native_wait_once",
]

# gevent's libuv loop knows no watcher of a descriptor that keeps nobody waiting; the adapter's docstring says so.
NOT_ON_LIBUV = {"waiting_for_the_hub_returns"}


def kept(promise: str, world: str, **environment: str) -> None:
    """Runs one promise in a process of its own, which has to end by itself, without a word."""
    done = subprocess.run(
        [sys.executable, "-c", WORLDS[world] + KEEP, promise],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr


@pytest.mark.parametrize("promise", gevent_promises.PROMISES)
@pytest.mark.parametrize("world", ["plain", "patched"])
def test_gevent_keeps(world: str, promise: str) -> None:
    """Every promise, in a plain process and in one that was patched before anything was imported."""
    kept(promise, world)


@pytest.mark.parametrize("promise", SAMPLE)
def test_gevent_keeps_when_patched_after_the_import(promise: str) -> None:
    """bridgeio may be imported before the patching, too."""
    kept(promise, "patched-late")


@pytest.mark.parametrize("promise", sorted({*SAMPLE} - NOT_ON_LIBUV))
def test_gevent_keeps_on_libuv(promise: str) -> None:
    """gevent has two event loops, and the adapter asks of them only what both have."""
    kept(promise, "plain", GEVENT_LOOP="libuv")


def test_what_another_thread_drops_does_not_disturb_the_count() -> None:
    """The witness looks at every object there is, and one may be a proxy of what is gone: asked for its class, it
    raises."""
    dead = weakref.proxy(set[int]())  # a set that nobody keeps
    assert witness_of("gevent").tasks() >= 0
    with pytest.raises(ReferenceError):
        isinstance(dead, int)
