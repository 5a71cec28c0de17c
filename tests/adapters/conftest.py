"""What the tests of single adapters share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest) -> str:
    """A backend whose loop the test may start itself; see tests/helpers/loops.py."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)
