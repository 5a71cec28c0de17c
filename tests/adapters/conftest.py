"""What the tests of single adapters share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import bridgeio
from loops import run_native
from native_starts import STARTS


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest) -> str:
    """A backend whose loop the test may start itself; see tests/helpers/loops.py."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture(params=["our task", "native task"])
def inside(request: pytest.FixtureRequest, world: str) -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]:
    """Runs a function in a task that bridgeio started, or in one that it only finds itself in."""

    def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return bridgeio.run(main, backend=world) if request.param == "our task" else run_native(world, main)

    return run


@pytest.fixture(params=STARTS)
def framework(request: pytest.FixtureRequest) -> str:
    """A backend that has a way of its own to cancel a task; see tests/helpers/native_starts.py."""
    if request.param not in bridgeio.available_backends():
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)
