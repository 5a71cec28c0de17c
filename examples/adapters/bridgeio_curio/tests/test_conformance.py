"""Every promise of bridgeio, on curio: the public kit, unmodified."""

from bridgeio.testing.suite import *  # noqa: F403
