"""What a caller may pass to a run: each backend says which options it has, and the words for any other are here."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["check_options"]

_EVERY_RUNS = ("dump_on_signal", "watchdog")  # seen to by `bridgeio.run`, whatever the backend


def check_options(backend: str, options: Mapping[str, object], *known: str) -> None:
    """For the beginning of a run: Python's own words would name a function that no user has called.

    :raises TypeError: for an option that is not one of these, nor of every run's, with their names.
    """
    for name in options:
        if name not in known:
            names = ", ".join([*known, *_EVERY_RUNS])
            raise TypeError(f"backend {backend!r} has no option {name!r}; its options: {names}")
