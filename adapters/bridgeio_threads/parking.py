"""Where one thread waits for its turn: at a gate, or on the lookout for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridgeio_threads.gate import Gate

if TYPE_CHECKING:
    from bridgeio_threads.baton import Baton
    from bridgeio_threads.lookout import Lookout

__all__ = ["AWAKE", "IDLE", "ON_LOOKOUT", "Parking"]

IDLE = 1.0  # seconds after which a thread that has nothing to do ends

AWAKE, AT_GATE, ON_LOOKOUT = range(3)  # the first is false


class Parking:
    """The waiting of one thread. All methods are called with the baton held.

    :ivar asleep: whether the owner waits, and how.
    """

    __slots__ = ("__weakref__", "asleep", "baton", "gate", "lookout")

    def __init__(self, baton: Baton, lookout: Lookout) -> None:
        self.baton = baton
        self.lookout = lookout
        self.gate = Gate()
        self.asleep = AWAKE

    def close(self) -> None:
        """The owner's thread ends, or is in another process."""
        self.asleep = AWAKE
        self.gate.close()

    def renew(self) -> None:
        """After a fork: the parent's thread reads from the same pipe."""
        self.gate = Gate()

    def rouse(self) -> None:
        """Has the owner come back from its wait, if it is in one."""
        state = self.asleep
        if not state:
            return
        self.asleep = AWAKE
        if state == AT_GATE:
            self.baton.queue.append(self.gate)
        else:
            self.lookout.recall()

    def rest(self) -> None:
        """Hands the baton on and waits until it is roused; or, with nobody to hand it to, is on the lookout once.
        An exception is raised with the baton held."""
        baton, lookout = self.baton, self.lookout
        self.asleep = AT_GATE  # from now on whoever wakes the owner queues it, also a call that is made here
        if baton.queue:
            lookout.look_in_between()
        if not (baton.queue and baton.hand_on()):
            if lookout.keeper is None:
                lookout.keep(self)
                return
            baton.free()
        self.gate.wait(self._interrupted)

    def rest_for(self, seconds: float) -> bool:
        """Waits at the gate, for a thread without a task; whether it was roused within that time."""
        self.asleep = AT_GATE
        self.baton.drop()
        if self.gate.wait_for(seconds):
            return True
        self.baton.call_soon(self.rouse)
        self.gate.wait()
        return False

    def _interrupted(self) -> None:
        """A signal handler raised while the owner was at its gate: it needs the baton to go on."""
        self.baton.call_soon(self.rouse)
