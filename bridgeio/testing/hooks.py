"""The hook by which a stranger's adapter brings its own evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bridgeio.testing.proof import Witness

__all__ = ["pytest_bridgeio_witness"]


@pytest.hookspec(firstresult=True)
def pytest_bridgeio_witness(backend: str) -> Witness | None:
    """The witness who knows, from the framework's own objects, whether a test runs on this backend.

    Implement it in a ``conftest.py`` or in the adapter's own plugin, and return ``None`` for other
    backends. Without it, a backend that bridgeio does not know is believed on bridgeio's word.
    """
