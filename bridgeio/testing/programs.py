"""Programs of a test's own: what only a whole process can show, such as signals and a clean exit."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

__all__ = ["Program", "command_for", "program", "run_program"]

TURN = 0.1  # seconds
PATIENCE = 200  # turns for a whole program: counted, because a machine may stand still for longer than a program runs

# A program patches itself if the session was asked to; what it finds on its path is what the session found.
PRELUDE = """
import faulthandler, sys
faulthandler.enable()
sys.path[:] = {path!r}
from bridgeio.testing.choosing import patch_if_asked
patch_if_asked()
import bridgeio
BACKEND, OPTIONS = {backend!r}, {options!r}
"""


class Program(subprocess.Popen[str]):
    """A Python program in a process of its own, whose words are text."""

    def ended(self) -> tuple[str, str]:
        """Waits until it has ended by itself: what it has printed since, and what it complained about.

        :raises AssertionError: if it does not end; with the stacks of its threads, if it has said ``faulthandler``.
        """
        for _ in range(PATIENCE):
            try:
                return self.communicate(timeout=TURN)
            except subprocess.TimeoutExpired:
                continue
        self.send_signal(signal.SIGABRT)
        printed, complaint = self.communicate()
        raise AssertionError(f"the program does not end; so far:\n{printed}\n{complaint}")


def command_for(source: str, backend: str, options: Mapping[str, object]) -> list[str]:
    """What starts the program that `program` describes."""
    return [sys.executable, "-c", PRELUDE.format(path=sys.path, backend=backend, options=options) + dedent(source)]


@contextmanager
def program(source: str, backend: str, **options: object) -> Iterator[Program]:
    """A running program, which finds `bridgeio`, ``BACKEND`` and ``OPTIONS`` (of the run) defined.

    :param options: what `bridgeio.run` is to be told beside the backend.
    """
    with Program(
        command_for(source, backend, options),
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
        printed, complaint = running.ended()
    if running.returncode:
        raise AssertionError(f"the program ended with {running.returncode}:\n{printed}\n{complaint}")
    return printed
