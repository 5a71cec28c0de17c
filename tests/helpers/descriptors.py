"""What this process has open, to be compared with what it had."""

from __future__ import annotations

import os

__all__ = ["open_descriptors"]


def open_descriptors() -> set[str]:
    """Each number with its target. Ask what is new: an idle thread of an earlier test closes its own when it ends."""
    links = {number: f"/dev/fd/{number}" for number in os.listdir("/dev/fd")}
    return {f"{number}: {os.readlink(link)}" for number, link in links.items() if os.path.islink(link)}
