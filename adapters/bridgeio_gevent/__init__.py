"""bridgeio on gevent, patched or plain, as a program of its own or in greenlets that are there.

====================  ==============================================================
contract              gevent
====================  ==============================================================
Host                  a hub, so one for each thread; the hub keeps it
Task                  a greenlet: a raw one under the hub for each task that the core
                      starts, the calling one for `run` and `bridgeio.blocking`
park / wake           a switch to the hub, again until it is our turn / a place in our
                      queue, which the hub walks
interrupt             `Cancelled` thrown by the hub into the gevent call that the task
                      blocks in, once
call_at               ``loop.timer``
call_soon_threadsafe  a queue and a started ``loop.async_``
watch                 ``loop.io``, which keeps nobody waiting; while a task of ours waits, or a
                      deadline stands, the hub is kept by the ``loop.async_``
cancelled_class       `GreenletExit`; ours is a subclass of it
resolve, reverse      the hub's resolver
start_process         `gevent.subprocess`, in a greenlet of its own; libev's child watcher
run                   drives the function in the calling greenlet. A hub that was there
                      stays as it was; one made for the run is destroyed after it.
====================  ==============================================================

A coroutine of ours never yields here: a wait blocks its greenlet, and other greenlets run on. So a
task may block in any gevent call beside its awaits, and a scope can end that. What may be awaited is
bridgeio's functions and other coroutines; at the ``await`` of anything else there is a `TypeError`.

`GreenletExit`, `gevent.Timeout` and whatever else is thrown into a greenlet pass through our waits as
what they are. One that comes when the result is there already is kept, and raised at the next wait.

The main greenlet counts as "inside gevent" while its thread has a hub; in the main thread of a patched
program also before.

The first Ctrl-C during a run in the main greenlet is raised in its function, where that waits; the
second is Python's own, and is raised anywhere.

Not promised: a gevent call that swallows its cancellation holds its scope up (a second ``cancel()``
tells it again). A wait for the name service that was cancelled leaves its thread to end by itself. The
exit code of a program that a hub in another thread has started may be lost to the main thread's hub;
after patching none can be started there. sniffio's name is set in tasks that start after sniffio was
imported. A task that switches to raw greenlets by hand is not followed there. After a fork the child's
sockets are dead, as everywhere, and the tasks that waited for them wait on. A host that serves
`bridgeio.blocking` outside any run lives as long as its hub, and what still flushes when the program
ends is lost. On gevent's libuv loop ``gevent.wait()`` does not return once a socket of ours was open:
the watch of the poller counts there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVarTuple

from bridgeio.contract import Adapter, Probe
from bridgeio.unpatched import get_ident

if TYPE_CHECKING:
    import gevent

    from bridgeio_gevent.backend import GeventBackend

__all__ = ["ADAPTER", "in_gevent", "spawn"]

Args = TypeVarTuple("Args")


def spawn(async_fn: Callable[[*Args], Coroutine[Any, Any, Any]], *args: *Args) -> gevent.Greenlet:
    """Starts ``async_fn(*args)`` as a task in a `gevent.Greenlet`, from any greenlet of the hub.

    ``get()`` gives the result or raises; ``joinall``, ``link``, groups and pools work. ``kill()``
    cancels the task: every wait of it raises from now on, also the first one of a task that has not
    started, so what was passed to it can be closed; children end first. ``kill(exception)`` with
    another class is gevent's own. The task runs in a copy of the caller's context.

    :raises TypeError: if calling the function does not give a coroutine.
    """
    from bridgeio_gevent.backend import spawn_greenlet

    return spawn_greenlet(async_fn, args)


def in_gevent() -> bool:
    """Whether this thread has a hub that lives; the hub's own callbacks count, and are refused later."""
    local = sys.modules.get("gevent._hub_local")
    find = getattr(local, "get_hub_if_exists", None)  # the module may be half imported, in another thread
    hub = find() if find is not None else None
    return _in_patched_main_thread() if hub is None else hub.loop is not None


def _in_patched_main_thread() -> bool:
    """Patching declares a gevent program, whose hub comes with its first wait. What `blocking` opened
    before must serve it after; in another real thread a hub would be a surprise."""
    monkey = sys.modules.get("gevent.monkey")
    patched = getattr(monkey, "is_module_patched", None)
    if patched is None or not patched("socket"):
        return False
    main: int = sys.modules["gevent.hub"].MAIN_THREAD_IDENT
    return get_ident() == main


def _load() -> GeventBackend:
    from bridgeio_gevent.backend import GeventBackend

    return GeventBackend()


ADAPTER = Adapter(
    name="gevent",
    framework="gevent",
    requires=("gevent",),
    install="bridgeio[gevent]",
    load=_load,
    probes=(Probe(50, in_gevent),),
)
