"""A thread that keeps the lookout while every task's thread is elsewhere: in a blocking section, or, under `blocking`,
back in the program that made the call. Started when first needed, and gone when it was not needed for a while."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from bridgeio_threads.parking import IDLE, Parking

if TYPE_CHECKING:
    from bridgeio_threads.host import ThreadsHost

__all__ = ["Attendant"]


class Attendant:
    """All its methods are called with the baton held.

    :ivar running: whether there is such a thread now.
    """

    def __init__(self, host: ThreadsHost) -> None:
        self._host = host
        self._parking: Parking | None = None

    @property
    def running(self) -> bool:
        return self._parking is not None

    def call(self) -> None:
        """Has it keep the lookout. Without a thread or a descriptor to spare, whoever parks next does."""
        if self._parking is not None:
            self._parking.rouse()
            return
        host = self._host
        with suppress(RuntimeError, OSError):
            parking = Parking(host.baton, host.lookout)
            host.workers.start_thread(partial(self._run, parking), parking.gate)
            self._parking = parking

    def end(self) -> None:
        """The run is over."""
        if self._parking is not None:
            self._parking.rouse()

    def forget(self) -> None:
        """After a fork: the thread is the parent's."""
        self._parking = None

    def _run(self, parking: Parking) -> None:
        host = self._host
        while not host.closing:
            if host.needs_attendant():
                host.lookout.keep(parking)
            elif not parking.rest_for(IDLE):
                break
        self._parking = None
        parking.close()
