"""Options of a run, as a user meets them: what a backend does not know it refuses, with what it knows."""

from __future__ import annotations

from typing import Any

import pytest

import bridgeio

ASYNCIOS = "debug, loop_factory, "

NAMES = {
    "asyncio": ASYNCIOS,
    "uvloop": ASYNCIOS,
    "tornado": ASYNCIOS,
    "trio": "clock, instruments, restrict_keyboard_interrupt_to_checkpoints, strict_exception_groups, ",
    "twisted": "reactor, ",
    "gevent": "",
    "threads": "baton, ",
}


@pytest.mark.bridgeio
def test_an_unknown_option_is_answered_with_the_known_ones(backend: str, backend_options: dict[str, Any]) -> None:
    """The error is in the user's words, and names no function of the adapter's."""
    with pytest.raises(TypeError) as refused:
        bridgeio.run(bridgeio.sleep, 0, backend=backend, backend_options={**backend_options, "colour": "blue"})
    assert str(refused.value) == (
        f"backend {backend!r} has no option 'colour'; its options: {NAMES[backend]}dump_on_signal, watchdog"
    )
