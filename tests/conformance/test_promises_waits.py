"""The public conformance suite, chapter by chapter, on every adapter that is installed."""

from bridgeio.testing.suite.promises_waits import *  # noqa: F403
