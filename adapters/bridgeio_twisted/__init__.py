"""bridgeio on Twisted, under any of its reactors.

====================  ====================================================================
contract              Twisted
====================  ====================================================================
Host                  the installed reactor: one for each process
Task                  a coroutine on a trampoline of ours; it yields tokens and Deferreds
park / wake           a token / a queue of ours, of which each reactor turn takes 64 steps
interrupt             ``cancel()`` on the Deferred that the task awaits, once
call_at               ``reactor.callLater``
call_soon_threadsafe  ``reactor.callFromThread``
watch                 ``reactor.addReader`` and ``reactor.addWriter``
resolve               the reactor's ``nameResolver``, if the application installed one;
                      ``reverse`` the system's, because that one knows no names of addresses
unwrap                a transport: its protocol and its producer are ours from then on
cancelled_class       a class of ours that is no `Exception`, so that ``except Exception``
                      lets it pass
run                   ``reactor.run``, left with ``reactor.crash``; option ``reactor``:
                      ``"epoll"``, ``"poll"``, ``"select"`` or ``"asyncio"``
====================  ====================================================================

In a reactor that runs already, `as_deferred` carries a coroutine; Deferreds are awaited in it.

Not promised: a second run at once, for a process has one reactor, nor a run after
``reactor.stop()``, for Twisted starts none again. bridgeio's functions directly in a coroutine under
``Deferred.fromCoroutine`` or in ``inlineCallbacks``: Twisted tells nobody which of them is running, so
there is nothing to keep scopes by; the error says to use `as_deferred`. A Deferred that swallows its
cancellation holds its scope up (a second ``cancel()`` tells it again). Awaiting Deferreds that have
fired already never gives way, which is Twisted's rule. An awaited Deferred's value is the one that it
has when the task goes on, later in the reactor's turn: a callback added in between can still change
it. Timers go by the reactor's clock, which is the wall clock: a deadline is never early, and late by
as much as that clock is set back. A run in another thread than the main one works, and leaves
Control-C to the main one. ``reactor.spawnProcess`` needs SIGCHLD, for which a run installs no handler.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from bridgeio.contract import Adapter, Capabilities, Probe
from bridgeio.unpatched import get_ident

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from bridgeio_twisted.backend import TwistedBackend
    from bridgeio_twisted.factories import Serve, ServerFactory

__all__ = ["ADAPTER", "as_deferred", "server_factory"]

T = TypeVar("T")


def as_deferred(coro: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Starts a coroutine as a bridgeio task in the reactor, and returns its result as a Deferred.

    Inside it, bridgeio's functions and Deferreds can be awaited alike. It begins in the reactor's
    next turn; the reactor may be started later. Call it in the reactor's thread.

    Cancelling the Deferred cancels the task. The Deferred then fails with Twisted's
    ``CancelledError`` once the task has ended, shielded cleanup included, or has whatever result
    the task still came to; cancelling it again tells the task once more. When the reactor shuts down,
    all such tasks are cancelled, and the shutdown waits for them. A task that raises
    `KeyboardInterrupt` or `SystemExit` also stops the reactor.

    :raises TypeError: if it is given anything but a coroutine.
    :raises RuntimeError: in another thread than that of the running reactor.
    """
    from bridgeio_twisted.deferreds import start

    return start(coro)


def server_factory(serve: Serve) -> ServerFactory:
    """A factory for any endpoint, whose connections are served by a coroutine each::

        endpoint.listen(server_factory(partial(bridgeio.serve_stream, handler)))

    Each runs under `as_deferred`. The factory has ``connections``, the number of those that run, and
    ``cancel()``, which ends them and returns a Deferred that fires when they have ended.

    :param serve: called with the transport of each connection; returns a coroutine, as `bridgeio.serve_stream`
        does. It is called at once, so that the transport can be wrapped before anything comes.
    """
    from bridgeio_twisted.factories import ServerFactory

    return ServerFactory(serve)


def _inside() -> bool:
    """Whether the reactor is running in this thread; in a worker beside it ``running`` is true, too."""
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is None or not getattr(reactor, "running", False):
        return False
    return bool(sys.modules["twisted.python.threadable"].ioThread == get_ident())


def _load() -> TwistedBackend:
    from bridgeio_twisted.backend import TwistedBackend

    return TwistedBackend()


ADAPTER = Adapter(
    name="twisted",
    framework="Twisted",
    requires=("twisted",),
    install="bridgeio[twisted]",
    load=_load,
    probes=(Probe(30, _inside),),
    capabilities=Capabilities(
        native_tasks=False,
        parallel_runs=False,
        reasons={
            "native_tasks": "Twisted does not tell which inlineCallbacks or fromCoroutine is running; use as_deferred",
            "parallel_runs": "a process has one reactor",
        },
    ),
)
