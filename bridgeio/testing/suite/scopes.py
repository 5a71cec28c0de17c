"""Chapter: scopes. Shields, deadlines, and scopes that are not left in order."""

from __future__ import annotations

import pytest

import bridgeio

pytestmark = pytest.mark.bridgeio


async def test_cleanup_has_its_own_deadline() -> None:
    """A shielded deadline in a cancelled scope ends its own block, and what stands after that still runs."""
    reached: list[str] = []
    with bridgeio.CancelScope() as outer:
        outer.cancel()
        with bridgeio.move_on_after(0.01, shield=True) as cleanup:
            await bridgeio.sleep_forever()
        reached.append("after the cleanup")
        await bridgeio.sleep(0)
        reached.append("too far")
    assert cleanup.cancelled_caught and outer.cancelled_caught
    assert reached == ["after the cleanup"]


async def test_a_shielded_fail_after_is_an_error() -> None:
    """In a cancelled scope, too, a shielded ``fail_after`` says that its time is over."""
    with bridgeio.CancelScope() as outer:
        outer.cancel()
        with pytest.raises(TimeoutError):
            with bridgeio.fail_after(0.01, shield=True):
                await bridgeio.sleep_forever()
