"""Programs of a test's own: what only a whole process can show, such as signals and a clean exit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

__all__ = ["Program", "program", "run_program"]

PATIENCE = 20.0  # seconds for a whole program

# A program patches itself if the session was asked to; what it finds on its path is what the session found.
PRELUDE = """
import sys
sys.path[:] = {path!r}
from bridgeio.testing.choosing import patch_if_asked
patch_if_asked()
import bridgeio
BACKEND, OPTIONS = {backend!r}, {options!r}
"""

Program = subprocess.Popen[str]


@contextmanager
def program(source: str, backend: str, **options: object) -> Iterator[Program]:
    """A running program, which finds `bridgeio`, ``BACKEND`` and ``OPTIONS`` (of the run) defined.

    :param options: what `bridgeio.run` is to be told beside the backend.
    """
    code = PRELUDE.format(path=sys.path, backend=backend, options=options) + dedent(source)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def run_program(source: str, backend: str, **options: object) -> str:
    """What a program prints, once it has ended by itself.

    :raises AssertionError: if it fails, with what it complained about; or if it does not end.
    """
    with program(source, backend, **options) as running:
        try:
            printed, complaint = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            running.kill()
            printed, complaint = running.communicate()
            raise AssertionError(f"the program does not end; so far:\n{printed}\n{complaint}") from None
    if running.returncode:
        raise AssertionError(f"the program ended with {running.returncode}:\n{printed}\n{complaint}")
    return printed
