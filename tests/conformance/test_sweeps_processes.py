"""The public conformance suite, chapter by chapter, on every adapter that is installed."""

from bridgeio.testing.suite.sweeps_processes import *  # noqa: F403
