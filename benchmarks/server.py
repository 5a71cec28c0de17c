"""``python -m benchmarks.server NAME JOB [CERTIFICATE]``: one server; its port is the first line it prints."""

from __future__ import annotations

import resource
import sys

from benchmarks.limits import LIMITS
from benchmarks.natives import NATIVES
from benchmarks.ours import serve

__all__ = ["OURS", "allow_many_connections"]

OURS = "bridgeio on "


def announce(port: int) -> None:
    print(port, flush=True)


def allow_many_connections() -> None:
    """Ten thousand need as many descriptors; what the system allows at most is taken."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def as_after_a_while() -> None:
    """Has large blocks come from the heap. glibc takes each of 128 KiB and more from the system, and gives it back,
    until it has seen a larger one freed, as a program that has run for a while has. asyncio asks for 256 KiB for
    each receive: 14 us that say nothing about it, unless they are everybody's."""
    bytearray(16 << 20)


def main(name: str, job: str, certificate: str | None = None) -> None:
    allow_many_connections()
    as_after_a_while()
    if name.startswith(OURS):
        serve(name.removeprefix(OURS), job, announce, certificate)
    else:
        (NATIVES | LIMITS)[name](job, announce, certificate)


if __name__ == "__main__":
    main(*sys.argv[1:])
