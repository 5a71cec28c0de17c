"""The public conformance suite, chapter by chapter, on every adapter that is installed."""

from bridgeio.testing.suite.sweeps_readiness import *  # noqa: F403
