"""bridgeio on Trio, with Trio's own scopes and nurseries underneath.

=======================  ===================================================================
contract                 Trio
=======================  ===================================================================
Host                     a run of Trio; one for each, kept in a `trio.lowlevel.RunVar`
Task                     a `trio.lowlevel.Task`, whoever started it
park / wake              `trio.lowlevel.wait_task_rescheduled` / `trio.lowlevel.reschedule`
give_way                 `trio.lowlevel.cancel_shielded_checkpoint`
checkpoint_if_cancelled  `trio.lowlevel.checkpoint_if_cancelled`
interrupt                nothing to do: Trio's scopes end Trio's waits
open_scope               `trio.CancelScope`
open_group               `trio.open_nursery`
call_at                  the deadline of a scope in which a system task sleeps
call_soon_threadsafe     ``TrioToken.run_sync_soon``
watch                    a system task in `trio.lowlevel.wait_readable` or ``wait_writable``
unwrap                   a ``SocketStream``'s socket; another stream's methods
cancelled_class          `trio.Cancelled`
run                      `trio.run`; options ``clock``, ``instruments``,
                         ``restrict_keyboard_interrupt_to_checkpoints`` and
                         ``strict_exception_groups``
=======================  ===================================================================

What Trio does differently stays as it is: cancellation is level-triggered in Trio's own waits too,
`KeyboardInterrupt` comes up in the main task, and the clock may be a `trio.testing.MockClock`.
Groups are strict on every run, and their cancellations never come out inside an ExceptionGroup.

Not promised: in a run that bridgeio did not start, bytes that a closed writer still has to flush
when the main task ends (await ``wait_closed``). Another framework's loop that is run inside a Trio
task, which it blocks, is taken for that task, except in a task of ours.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bridgeio.contract import Adapter, Capabilities, Probe

if TYPE_CHECKING:
    from bridgeio_trio.backend import TrioBackend

__all__ = ["ADAPTER"]


def _in_task() -> bool:
    """Whether a Trio task is running in this thread right now, without importing Trio.

    In guest mode there is none while the other loop's own code runs.
    """
    lowlevel = sys.modules.get("trio.lowlevel")
    if lowlevel is None:
        return False
    try:
        lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def _load() -> TrioBackend:
    from bridgeio_trio.backend import TrioBackend

    return TrioBackend()


ADAPTER = Adapter(
    name="trio",
    framework="Trio",
    requires=("trio",),
    install="bridgeio[trio]",
    load=_load,
    probes=(Probe(10, _in_task),),
    capabilities=Capabilities(
        native_await_cancelled_once=False,
        reasons={
            "native_await_cancelled_once": "Trio's own rule holds: in a cancelled scope each of its waits raises, "
            "so cleanup that waits needs a shield"
        },
    ),
)
