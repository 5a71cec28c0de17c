"""What a session says beside dots: what is under test, what is not promised, how to repeat a failure."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import bridgeio
from bridgeio.registry import adapter
from bridgeio.testing.choosing import PATCHED, REACTOR, absent_backends
from bridgeio.testing.sweeping import Swept

__all__ = ["NOT_PROMISED", "header", "not_promised_lines", "repeat_commands", "swept_line"]

NOT_PROMISED = "not promised: "

SHOWN = 10  # commands to repeat failures with


def header(chosen: Sequence[str], unproved: Iterable[str]) -> Iterator[str]:
    """Where the core and each adapter come from, the version of each framework, and what is not promised there."""
    yield f"bridgeio {bridgeio.__version__}: {Path(bridgeio.__file__).parent}"
    for name in chosen:
        yield f"  {name} {framework_version(name)}: {adapter_folder(name)}"
        for promise, reason in adapter(name).capabilities.lacking().items():
            yield f"    does not promise {promise}: {reason}"
    for name, install in absent_backends().items():
        yield f'  {name}: absent (pip install "{install}")'
    for name in unproved:
        yield f"  {name}: no pytest_bridgeio_witness; where its tests ran is only bridgeio's word"
    for variable in (PATCHED, REACTOR):
        if os.environ.get(variable):
            yield f"  {variable}={os.environ[variable]}"


def framework_version(name: str) -> str:
    described = adapter(name)
    if all(module.partition(".")[0] in sys.stdlib_module_names for module in described.requires):
        return f"Python {platform.python_version()}"
    try:
        return metadata.version(described.requires[0].partition(".")[0])
    except metadata.PackageNotFoundError:
        return "of unknown version"


def adapter_folder(name: str) -> str:
    module = getattr(adapter(name).load, "__module__", "")
    spec = find_spec(module) if module else None
    return str(Path(spec.origin).parent) if spec is not None and spec.origin else "an unknown place"


def not_promised_lines(skipped: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Each broken promise once, with the number of tests that wanted it.

    :param skipped: test ids and reasons.
    """
    tests: dict[str, list[str]] = defaultdict(list)
    for test, reason in skipped:
        _, found, promise = reason.partition(NOT_PROMISED)
        if found:
            tests[promise].append(test)
    for promise, wanted in sorted(tests.items()):
        yield f"{promise} ({len(wanted)} test{'s' if len(wanted) > 1 else ''})"
        yield from (f"    {test}" for test in wanted)


def repeat_commands(failed: Sequence[tuple[str, str | None]], options: Sequence[str]) -> Iterator[str]:
    """For each failed test the one command that runs it again.

    :param failed: test ids, each with its backend.
    :param options: what else the session was called with and a repetition needs.
    """
    settings = [f"{name}={os.environ[name]}" for name in (PATCHED, REACTOR) if os.environ.get(name)]
    tests = dict(failed)
    for test, backend in list(tests.items())[:SHOWN]:
        only = ["--backend", backend] if backend else []
        yield shlex.join([*settings, "pytest", *options, test, *only])
    if len(tests) > SHOWN:
        yield f"(and {len(tests) - SHOWN} more)"


def swept_line(swept: Sequence[Swept]) -> str:
    """How far the sweeps of a session reached: see `bridgeio.testing.sweep`."""
    waits = sum(each.waits for each in swept)
    operations, backends = {each.operation for each in swept}, {each.backend for each in swept}
    return (
        f"bridgeio: swept {_counted(waits, 'wait')} in {_counted(len(operations), 'operation')} "
        f"on {_counted(len(backends), 'backend')}"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
