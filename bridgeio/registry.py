"""Which adapters there are, and which world the caller is in.

The question is asked again at each entry, in a fixed order, and never answered from memory: one
process may use several frameworks. The ranks of the probes are that order:

====  =======================================================
   0  a task of ours that is running in this thread (no probe)
  10  a Trio task
  20  an asyncio task: Tornado's (20), uvloop's (21), asyncio's (22)
  30  Twisted is running, and this is its I/O thread
  40  an asyncio loop, outside any task
  50  a greenlet, other than the hub's, with a live hub
  60  adapters of third parties, unless they choose otherwise
====  =======================================================
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from functools import cache

from bridgeio.contract import CONTRACT, Adapter, Backend, Host, Task, get_current
from bridgeio.errors import AdapterError, BackendNotFoundError, BackendNotInstalledError, NoBackendError
from bridgeio.unpatched import get_ident, original

__all__ = [
    "adapter",
    "available_backends",
    "backend",
    "check_thread",
    "current_backend",
    "current_host",
    "current_task",
    "framework_of",
    "is_in_thread_of",
    "is_installed",
    "known_backends",
    "running_host",
    "surrounding_backend",
    "surrounding_backends",
]

ENTRY_POINTS = "bridgeio.adapters"

# Also without their entry points, which vanish in frozen programs.
FIRST_PARTY = {
    "asyncio": "bridgeio_asyncio:ADAPTER",
    "uvloop": "bridgeio_asyncio:UVLOOP",
    "trio": "bridgeio_trio:ADAPTER",
    "tornado": "bridgeio_tornado:ADAPTER",
    "twisted": "bridgeio_twisted:ADAPTER",
    "gevent": "bridgeio_gevent:ADAPTER",
    "threads": "bridgeio_threads:ADAPTER",
}

# A cache alone lets two threads that ask at the same moment load a backend each: two shared runs of
# `bridgeio.blocking`, and a queue between them that belongs to neither.
_LOADING = original("_thread", "RLock")()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LOADING._at_fork_reinit)


def current_task() -> Task:
    """The task that calls this.

    :raises NoBackendError: outside any framework, and in callbacks, which cannot wait.
    """
    task = get_current()
    if task is not None and task.thread == get_ident():
        return task
    return _detect()


def current_host() -> Host:
    host: Host = current_task().host
    return host


def running_host() -> Host:
    """`current_host` for callers that may be callbacks, and no tasks.

    :raises NoBackendError: outside any framework.
    """
    task = get_current()
    if task is not None and task.thread == get_ident():
        host: Host = task.host
        return host
    around = surrounding_backend()
    if around is None:
        raise _no_backend()
    return around.current_host()


def is_in_thread_of(host: Host) -> bool:
    """Whether the caller may change what tasks of a run wait for. A task costs two comparisons."""
    task = get_current()
    if task is not None and task.host is host and task.thread == get_ident():
        return True
    return host.admits(get_ident())


def check_thread(host: Host, what: str) -> None:
    """For synchronous calls that change what tasks of a run wait for.

    :raises RuntimeError: if the caller is in another thread than the run, which nothing could make safe.
    """
    if not is_in_thread_of(host):
        raise RuntimeError(
            f"{what} was called in another thread than that of its run ({host.backend}): hand the call over with "
            "bridgeio.from_thread.run_sync()"
        )


def current_backend() -> str:
    """The name of the backend that carries the calling task.

    :raises NoBackendError: outside any framework.
    """
    return current_host().backend


def known_backends() -> tuple[str, ...]:
    """The names of all adapters, first-party and installed, whether or not they can be used."""
    return tuple(_adapters())


def available_backends() -> tuple[str, ...]:
    """The names of the adapters whose framework is installed."""
    return tuple(name for name in known_backends() if is_installed(name))


def is_installed(name: str) -> bool:
    return not _missing(adapter(name))


@cache
def adapter(name: str) -> Adapter:
    """The description of a backend.

    :raises BackendNotFoundError: with the names that are known.
    """
    try:
        target = _target(name)
    except (KeyError, TypeError):
        known = ", ".join(known_backends())
        raise BackendNotFoundError(f"there is no backend called {name!r}; known: {known}") from None
    module, _, attribute = target.partition(":")
    described = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(described, Adapter):
        raise AdapterError(f"{target} (backend {name!r}) is not a bridgeio.contract.Adapter")
    _check_contract(described)
    return described


@cache
def backend(name: str) -> Backend:
    """The backend itself, with its framework imported.

    :raises BackendNotFoundError: with the names that are known.
    :raises BackendNotInstalledError: with the command that installs it.
    """
    with _LOADING:
        return _loaded(name)


@cache
def _loaded(name: str) -> Backend:
    described = adapter(name)
    missing = _missing(described)
    if missing:
        raise BackendNotInstalledError(
            f"backend {name!r} needs {described.framework} ({', '.join(missing)} cannot be imported); "
            f'install it with: pip install "{described.install}"',
            name=missing[0],
        )
    return described.load()


def _target(name: str) -> str:
    """Without the list, if it would say the same: what it takes to read it is more than all of bridgeio."""
    ours = FIRST_PARTY.get(name)
    return ours if ours is not None and _exists(ours.partition(":")[0]) else _adapters()[name]


@cache
def _adapters() -> dict[str, str]:
    from importlib.metadata import entry_points  # slow to import, and not needed by most programs

    found = dict(FIRST_PARTY)
    for entry in entry_points(group=ENTRY_POINTS):
        found.setdefault(entry.name, entry.value)
    return {name: target for name, target in found.items() if _exists(target.partition(":")[0])}


def _exists(module: str) -> bool:
    """Whether the module can be imported, without importing it; a folder without code cannot."""
    from importlib.util import find_spec

    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def _missing(described: Adapter) -> list[str]:
    return [module for module in described.requires if not _exists(module)]


def _check_contract(described: Adapter) -> None:
    major, minor = described.contract
    if major != CONTRACT[0] or minor > CONTRACT[1]:
        raise AdapterError(
            f"adapter {described.name!r} was written for contract {major}.{minor}, "
            f"this bridgeio has {CONTRACT[0]}.{CONTRACT[1]}; install versions that fit"
        )


def surrounding_backend() -> Backend | None:
    """The backend of the world that the caller is in, also where it cannot wait; else ``None``."""
    task = get_current()
    if task is not None and task.thread == get_ident():
        return backend(task.host.backend)
    for name, inside in _probes():
        if inside():
            return backend(name)
    return None


def surrounding_backends() -> list[Backend]:
    """`surrounding_backend`, and all the others that the caller is in as well: a Tornado application is one of
    asyncio's, too, and whoever was asked first has given the loop its name."""
    first = surrounding_backend()
    inside = [backend(name) for name, is_inside in _probes() if is_inside()]
    return list(dict.fromkeys([first, *inside] if first is not None else inside))


def framework_of(thing: object) -> str | None:
    """The name of the backend whose framework has defined the thing's class, or that of the first in a tuple."""
    if isinstance(thing, tuple) and thing:
        thing = thing[0]
    roots = {kind.__module__.partition(".")[0] for kind in type(thing).__mro__}
    for name in known_backends():
        with contextlib.suppress(AdapterError, ImportError):
            if roots.intersection(adapter(name).requires):
                return name
    return None


def _detect() -> Task:
    around = surrounding_backend()
    if around is not None:
        return around.current_task()
    raise _no_backend()


def _no_backend() -> NoBackendError:
    return NoBackendError(
        "no framework is running here: start one with bridgeio.run(function, backend=...), "
        "or call bridgeio.blocking(function) from synchronous code"
    )


@cache
def _probes() -> list[tuple[str, Callable[[], bool]]]:
    """In the order of their ranks. A stranger's broken adapter must not blind us to the others."""
    ranked: list[tuple[int, str, Callable[[], bool]]] = []
    for name in known_backends():
        with contextlib.suppress(AdapterError, ImportError):
            ranked += [(probe.rank, name, probe.inside) for probe in adapter(name).probes]
    return [(name, inside) for _, name, inside in sorted(ranked, key=lambda row: row[:2])]
