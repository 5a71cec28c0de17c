"""Which backends a test session is about, and how each is to be run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pytest

import bridgeio
from bridgeio.registry import adapter, available_backends, is_installed, known_backends

__all__ = [
    "PATCHED",
    "REACTOR",
    "absent_backends",
    "chosen_backends",
    "install_reactor",
    "is_patched",
    "options_for",
    "patch_if_asked",
]

PATCHED = "BRIDGEIO_PATCHED"
REACTOR = "BRIDGEIO_REACTOR"


def chosen_backends(asked: Sequence[str]) -> list[str]:
    """The backends to test: those asked for, else every one whose framework is installed.

    In a process that gevent has patched only gevent's own is meaningful.

    :raises pytest.UsageError: for one that is not known, or not installed.
    """
    for name in asked:
        if name not in known_backends():
            raise pytest.UsageError(f"--backend {name}: not known; known are {', '.join(known_backends())}")
        if not is_installed(name):
            raise pytest.UsageError(f'--backend {name}: install it with pip install "{adapter(name).install}"')
    chosen = list(dict.fromkeys(asked)) or list(available_backends())
    return [name for name in chosen if name == "gevent"] if is_patched() else chosen


def absent_backends() -> dict[str, str]:
    """Known backends whose framework is not installed, each with what installs it."""
    return {name: adapter(name).install for name in known_backends() if not is_installed(name)}


def options_for(name: str, reactor: str | None) -> Mapping[str, object]:
    """What `bridgeio.run` is told beside the backend's name."""
    return {"reactor": reactor} if name == "twisted" and reactor else {}


def install_reactor(name: str) -> None:
    """Has this process use one of Twisted's reactors, before a test's own import installs another.

    :raises pytest.UsageError: if there is no such reactor.
    """
    try:
        bridgeio.run(bridgeio.sleep, 0, backend="twisted", backend_options=options_for("twisted", name))
    except ValueError as error:
        raise pytest.UsageError(f"--reactor {name}: {error}") from error


def is_patched() -> bool:
    return bool(os.environ.get(PATCHED))


def patch_if_asked() -> None:
    """Patches the standard library, as early as a plugin can."""
    if is_patched():
        from importlib import import_module

        import_module("gevent.monkey").patch_all()
