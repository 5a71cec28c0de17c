"""bridgeio on plain threads: no loop, one thread for each task.

====================  ================================================================
contract              threads
====================  ================================================================
Host                  a run: one baton, and the threads that pass it on
Task                  a thread out of a cache; its coroutine never yields
park / wake           a pipe from which the thread reads, or the lookout / a byte, or the bell
interrupt             nothing: a native call that blocks cannot be ended
call_at               the lookout's ``poll``
call_soon_threadsafe  whoever holds the baton, or takes it free, makes the call
watch                 the lookout's ``poll``
cancelled_class       `bridgeio_threads.task.Cancelled`
run                   in the calling thread; option ``baton``, which has to be true
block                 the same, in a run that all calls outside a run share
====================  ================================================================

**The lookout.** Whoever parks with nobody left to hand the baton to waits for everything that the run
waits for, in one ``poll``: each message wakes one thread, and a run of one task needs no other.

**The baton.** A task holds it while its own code runs and drops it at each wait, so code between two
waits is atomic, as on an event loop, and the same coroutine is correct unchanged. It is handed over
first come, first served. A call that blocks in its own way (``time.sleep``, a database driver)
keeps it, and stops the run for that long: put `bridgeio.lowlevel.blocking_section` around it.

``{"baton": False}`` is refused. Scopes, events, writers and timers are plain Python objects that
rely on atomic steps, and a baton for the core alone would have to be taken and dropped in each of its
synchronous functions, on every backend's path of a byte. Tried without: two tasks that wait in turns for
20,000 events stopped for good after some thousand, for a wake-up that fell between two instructions. A
test shows such a moment (``test_without_the_baton_a_wake_up_is_lost``).

Not promised: awaitables of any framework (a `TypeError` at the ``await``); the end of a blocking
call of the task's own, which notices a cancellation at its next wait; a fork in the middle of a
run, whose tasks stay in the parent (the run that `bridgeio.blocking` shares starts anew in the
child). Each task's thread costs one descriptor besides its own (two where there is no ``/proc``), and
has the stack size of `threading.stack_size`. Ctrl-C in code of the main task raises KeyboardInterrupt
there; in one of bridgeio's waits, or in the middle of its work, it ends that wait or the next one, and
under `blocking` the call at the latest. A handler for SIGINT of the program's own that raises does so
wherever it is called: between two steps of the core's own work it may leave a call half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridgeio.contract import Adapter, Capabilities

if TYPE_CHECKING:
    from bridgeio_threads.backend import ThreadsBackend

__all__ = ["ADAPTER"]


def _load() -> ThreadsBackend:
    from bridgeio_threads.backend import ThreadsBackend

    return ThreadsBackend()


ADAPTER = Adapter(
    name="threads",
    framework="threads",
    requires=("threading",),
    install="bridgeio",
    load=_load,
    capabilities=Capabilities(
        native_await=False,
        native_await_cancelled=False,
        native_tasks=False,
        native_cancel=False,
        signals_in_any_task=False,
        reasons={
            "native_await": "a thread has no loop that could carry an awaitable; it is a TypeError",
            "native_await_cancelled": "a blocking call of the task's own cannot be ended from outside",
            "native_tasks": "a thread that bridgeio did not start is no task, but during a call of bridgeio.blocking()",
            "native_cancel": "threads cannot be cancelled by their own means",
            "signals_in_any_task": "Python lets only the main thread receive signals, and only the main task runs in "
            "it; any task may wait on the receiver that it has opened",
        },
    ),
)
