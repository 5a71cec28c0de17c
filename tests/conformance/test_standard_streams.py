"""The public conformance suite, chapter by chapter, on every adapter that is installed."""

from bridgeio.testing.suite.standard_streams import *  # noqa: F403
