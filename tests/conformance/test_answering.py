"""The public conformance suite, chapter by chapter, on every adapter that is installed."""

from bridgeio.testing.suite.answering import *  # noqa: F403
