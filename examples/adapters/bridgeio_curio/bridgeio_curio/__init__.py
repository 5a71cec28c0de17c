"""bridgeio on curio: an adapter written outside bridgeio's house, from `bridgeio.contract` alone.

====================  ==============================================================
contract              curio
====================  ==============================================================
Host                  a kernel; one for each, kept by the kernel itself
Task                  a `curio.Task`, of which every step goes through `drive`
park / wake           ``SchedBarrier.suspend`` / ``SchedBarrier.wake``
give_way              ``curio.sleep(0)`` under ``curio.disable_cancellation``
interrupt             ``Task.cancel`` with a cancellation of ours, taken back after
call_at               a task that sleeps until the earliest time, under ``ignore_after``
call_soon_threadsafe  a `concurrent.futures.Future` that a task waits for
watch                 a task in ``curio.traps._read_wait`` or ``_write_wait``
cancelled_class       `curio.CancelledError`; ours is a subclass of it
run                   `curio.Kernel`; options ``selector``, ``debug`` and ``activations``
====================  ==============================================================

curio hears requests from tasks alone: synchronous code cannot spawn, wake or cancel anything. So what
the contract wants done at once is noted (`CurioHost.request`), and the task that is running hands it
to the kernel before it gives up control.

Not promised: bridgeio's functions in a task that curio started by itself. Such a task awaits
`enter`, and what it calls in there is a task like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from bridgeio.contract import Adapter, Capabilities, Probe

if TYPE_CHECKING:
    from bridgeio_curio.backend import CurioBackend

__all__ = ["ADAPTER", "enter"]

T = TypeVar("T")
Args = TypeVarTuple("Args")


async def enter(async_fn: Callable[[*Args], Coroutine[Any, Any, T]], *args: *Args) -> T:
    """Runs ``async_fn(*args)`` as a task of bridgeio's, inside the curio task that awaits this.

    A cancel or a timeout of the curio task passes through it as what it is.
    """
    from bridgeio_curio.backend import enter_task

    return await enter_task(async_fn(*args), getattr(async_fn, "__qualname__", "entered"))


def in_curio() -> bool:
    """Whether a kernel is running in this thread, without importing curio."""
    meta = sys.modules.get("curio.meta")
    return meta is not None and bool(meta.curio_running())


def _load() -> CurioBackend:
    from bridgeio_curio.backend import CurioBackend

    return CurioBackend()


ADAPTER = Adapter(
    name="curio",
    framework="curio",
    requires=("curio",),
    install="bridgeio_curio",
    load=_load,
    contract=(1, 1),
    probes=(Probe(60, in_curio),),
    capabilities=Capabilities(
        native_tasks=False,
        orderly_exit=False,
        async_generators=False,
        freed_at_once=False,
        reasons={
            "orderly_exit": "what is raised in a callback ends curio's kernel at once, and cleanup finds no loop",
            "freed_at_once": "a curio task refers to the error that ended it, whose traceback refers to the task",
            "async_generators": "curio finalises only those that the program wraps in curio.meta.finalize",
            "native_tasks": "curio tells nobody but an awaiting task which task is running; "
            "await bridgeio_curio.enter(function) in a task of curio's",
        },
    ),
)
