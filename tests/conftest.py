"""For all tests: pytest's own helper for testing plugins, a process that Ctrl-C can reach, and a quick collector."""

import gc
import signal
from contextlib import suppress

import pytest

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """A shell that runs this in the background has Ctrl-C ignored, and so would all programs that tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The frameworks and thousands of tests stay to the end: a collector that looks through them takes ten times as
    long, and tests ask for it hundreds of times."""
    with suppress(ImportError):
        import hypothesis  # noqa: F401 - it looks for owners of random generators, and finds none that are frozen
    gc.collect()
    gc.freeze()
