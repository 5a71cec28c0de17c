"""For all tests: pytest's own helper for testing plugins, and a process that Ctrl-C can reach."""

import signal

import pytest

pytest_plugins = ["pytester"]


def pytest_configure(config: pytest.Config) -> None:
    """A shell that runs this in the background has Ctrl-C ignored, and so would all programs that tests start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
