"""Where the system has no pidfd a thread waits for each process: the same promises, so the same chapters."""

import os

import pytest

from bridgeio.testing.suite.processes import *  # noqa: F403
from bridgeio.testing.suite.sweeps_processes import *  # noqa: F403

pytestmark = pytest.mark.bridgeio("asyncio", "trio", "twisted", "threads")


@pytest.fixture(autouse=True)
def no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, and in sandboxes that forbid it."""
    monkeypatch.delattr(os, "pidfd_open")
