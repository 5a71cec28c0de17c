"""The interpreter that runs this program, and how to start another one like it."""

from __future__ import annotations

import sys

__all__ = ["an_interpreter", "its_options"]

_LETTERS = {
    "optimize": "O",
    "bytes_warning": "b",
    "dont_write_bytecode": "B",
    "debug": "d",
    "verbose": "v",
    "quiet": "q",
    "no_site": "S",
    "isolated": "I",
    "ignore_environment": "E",
    "no_user_site": "s",
    "safe_path": "P",
}


def an_interpreter() -> str:
    """The program to start.

    :raises RuntimeError: if there is none; a frozen program would only start itself again.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise RuntimeError("worker processes need a Python interpreter in sys.executable, and this program has none")
    return sys.executable


def its_options() -> list[str]:
    """What this interpreter was told on its command line, or by its environment: ``-O``, ``-W``, ``-X`` and others.

    Told twice, by the environment too, is the same as once.
    """
    letters = [f"-{letter * getattr(sys.flags, flag)}" for flag, letter in _LETTERS.items() if getattr(sys.flags, flag)]
    extras = [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    return [*letters, *(f"-W{option}" for option in sys.warnoptions), *extras]
