"""Programs that a test talks to. A machine may lack one, CI may not.

Under ``BRIDGEIO_CI`` a missing program fails the test: a skip there would be a promise that nobody checks any more.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import NoReturn

import pytest

__all__ = ["absent", "package", "program"]


def program(name: str) -> str:
    """The path of a program, from PATH."""
    return shutil.which(name) or absent(f"the program {name} is not installed")


def package(name: str) -> None:
    """Ends the test where a package cannot be imported."""
    if find_spec(name) is None:
        absent(f"{name} is not installed")


def absent(what: str) -> NoReturn:
    """End this test, because the machine lacks something."""
    if os.environ.get("BRIDGEIO_CI"):
        pytest.fail(f"{what}, and in CI nothing may be missing", pytrace=False)
    pytest.skip(what)
