"""bridgeio on asyncio, and on uvloop, which is the same loop interface in C.

====================  =====================================================================
contract              asyncio
====================  =====================================================================
Host                  an event loop; one for each, kept by the loop itself
Task                  an `asyncio.Task`, ours or anybody's
park / wake           an object of ours that is a Future to the task / its callback, soon
wake_now              the task's step, made by us between two callbacks of the loop
interrupt             ``cancel()`` on the Future that the task awaits, once; in a task that
                      we did not start, `Task.cancel` once, with `Task.uncancel` after
call_at               ``loop.call_at``
call_soon_threadsafe  ``loop.call_soon_threadsafe``
watch                 ``loop.add_reader`` and ``loop.add_writer``
unwrap                a pair of streams: their transport, with a protocol of ours
cancelled_class       `asyncio.CancelledError`
run                   `asyncio.Runner`; options ``loop_factory`` and ``debug``
====================  =====================================================================

Not promised: a native wait that swallows its cancellation holds its scope up (a second ``cancel()``
tells it again). In a task that bridgeio did not start, a native wait that begins after the scope
was cancelled is ended one loop turn later.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bridgeio.contract import Adapter, Probe

if TYPE_CHECKING:
    from bridgeio_asyncio.backend import AsyncioBackend

__all__ = ["ADAPTER", "UVLOOP", "in_loop", "in_task"]


def _running_loop() -> Any:
    """The loop that runs in this thread, without importing asyncio."""
    asyncio = sys.modules.get("asyncio.events")
    return None if asyncio is None else asyncio._get_running_loop()


def in_task() -> bool:
    """Whether the caller is inside an `asyncio.Task`."""
    loop = _running_loop()
    return loop is not None and sys.modules["asyncio"].current_task(loop) is not None


def in_loop() -> bool:
    """Whether an asyncio loop runs here, in a task or in a callback."""
    return _running_loop() is not None


def _in_uvloop_task() -> bool:
    return "uvloop" in sys.modules and in_task() and type(_running_loop()).__module__.partition(".")[0] == "uvloop"


def _load_asyncio() -> AsyncioBackend:
    from bridgeio_asyncio.backend import AsyncioBackend

    return AsyncioBackend("asyncio")


def _load_uvloop() -> AsyncioBackend:
    from bridgeio_asyncio.backend import AsyncioBackend

    return AsyncioBackend("uvloop")


ADAPTER = Adapter(
    name="asyncio",
    framework="asyncio",
    requires=("asyncio",),
    install="bridgeio",
    load=_load_asyncio,
    probes=(Probe(22, in_task), Probe(40, in_loop)),
)

UVLOOP = Adapter(
    name="uvloop",
    framework="uvloop",
    requires=("uvloop",),
    install="bridgeio[uvloop]",
    load=_load_uvloop,
    probes=(Probe(21, _in_uvloop_task),),
)
