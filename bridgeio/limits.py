"""The bounds that protect a process by default, each with its unit."""

from __future__ import annotations

__all__ = [
    "BUDGET",
    "CHUNK_MAX",
    "CHUNK_MIN",
    "EVENTS_PER_DISPATCH",
    "GRACE",
    "HANDSHAKE_TIMEOUT",
    "HAPPY_EYEBALLS_DELAY",
    "HIGH_WATER",
    "LIMIT",
    "LINGER",
    "RECEIVE_MAX",
    "UNRESPONSIVE_AFTER",
    "WRITE_LIMIT",
]

BUDGET = 64  # operations a task may do without giving way to others
EVENTS_PER_DISPATCH = 256  # readiness events taken from the kernel before the host has its turn

CHUNK_MIN = 4 * 1024  # bytes asked of the kernel in one receive, at first ...
CHUNK_MAX = 64 * 1024  # ... and once a peer has filled every chunk before
RECEIVE_MAX = 256 * 1024  # bytes asked of the kernel at once, by a read that wants that many

LIMIT = 64 * 1024  # bytes that readuntil() may buffer while it looks for the separator
HIGH_WATER = 64 * 1024  # bytes waiting to be sent above which drain() waits
WRITE_LIMIT = 64 * 1024 * 1024  # bytes waiting to be sent above which write() refuses

LINGER = 10.0  # seconds that close() may go on flushing
GRACE = 10.0  # seconds that a draining server waits for its handlers
UNRESPONSIVE_AFTER = 4.0  # seconds after the cancel when a drain gives a handler up
HAPPY_EYEBALLS_DELAY = 0.25  # seconds between two connection attempts, RFC 8305 section 5
HANDSHAKE_TIMEOUT = 30.0  # seconds for a TLS handshake, on both sides
