"""Threads that wait for a host, and portals, at moments that no run can be brought to meet for certain."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

import bridgeio
from bridgeio.crossing import Answer
from bridgeio.from_thread import BlockingPortal
from bridgeio.testing.foreign import ForeignThread
from bridgeio.unpatched import original
from fake_host import FakeHost

_pause = original("time", "sleep")


def test_a_host_that_ends_answers_who_still_waits() -> None:
    """A callback that the loop never came to leaves no thread waiting: the end of the host answers it."""
    host = FakeHost()
    answer: Answer[int] = Answer()
    thread = ForeignThread(host.ask, answer, lambda: answer.give(1))
    while not host.soon:
        _pause(0.001)
    host.close()
    with pytest.raises(RuntimeError, match="has ended"):
        thread.join()
    host.soon[0]()  # too late, and no harm


def test_a_host_that_has_ended_is_not_asked() -> None:
    """After its end every call is refused, also where the loop would still take callbacks."""
    host = FakeHost()
    host.close()
    answer: Answer[int] = Answer()
    with pytest.raises(RuntimeError, match="has ended"):
        host.ask(answer, lambda: answer.give(1))


def test_a_portal_that_closes_in_the_middle_of_a_call() -> None:
    """A call that finds the portal open, and then finds it closed with nobody left to look, is refused."""

    class Closing(deque[Any]):
        def append(self, posted: Any) -> None:
            super().append(posted)
            portals[0]._is_open = False

    async def main() -> None:
        async with BlockingPortal() as portal:
            portals.append(portal)
            portal._posted, before = Closing(), portal._posted
            with pytest.raises(RuntimeError, match="not open"):
                await ForeignThread(portal.call, int).joined()
            portal._posted = before

    portals: list[BlockingPortal] = []
    bridgeio.run(main, backend="threads")
