"""The public conformance suite, chapter by chapter, on every adapter that is installed."""

from bridgeio.testing.suite.offloading import *  # noqa: F403
