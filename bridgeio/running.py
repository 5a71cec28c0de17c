"""Entering the bridge: `run` starts a framework, `run_server` a whole program."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar, TypeVarTuple

from bridgeio.events import Event
from bridgeio.groups import as_coroutine
from bridgeio.registry import backend as load_backend
from bridgeio.registry import current_host, current_task
from bridgeio.runvars import LAST_LOOKS
from bridgeio.scopes import CancelScope
from bridgeio.server import Handler, Server, serve, serve_unix
from bridgeio.signals import signals_call, signals_wake
from bridgeio.streams import end_fed, flush_lingering
from bridgeio.visits import end_visits

__all__ = ["run", "run_server", "serve_until_signal"]

T = TypeVar("T")
Args = TypeVarTuple("Args")


def run(
    async_fn: Callable[[*Args], Coroutine[Any, Any, T]],
    *args: *Args,
    backend: str = "asyncio",
    backend_options: Mapping[str, object] | None = None,
) -> T:
    """Starts a framework, runs ``async_fn(*args)`` in it, leaves it, and returns the result.

    Again and again in one process, also with different backends. When it returns, every task has
    ended and every writer has flushed, or given up after its ``linger``.

    KeyboardInterrupt and SystemExit come out as what they are, also when a task group wrapped them.

    :param backend: one of `known_backends`.
    :param backend_options: asyncio, uvloop and tornado: ``loop_factory``, ``debug``; trio: those of
        ``trio.run``; twisted: ``reactor`` (``"epoll"``, ``"poll"``, ``"select"``, ``"asyncio"``);
        threads: ``baton``, which has to be true; gevent: none. On every backend: ``watchdog``, the
        seconds after which a task that does not give way is reported to the logger
        ``bridgeio.watchdog``; ``dump_on_signal``, whether SIGUSR1 prints `dump_tasks` to stderr,
        as it also does with ``BRIDGEIO_DUMP_ON_SIGUSR1=1`` in the environment.
    :raises BackendNotFoundError: with the names that are known.
    :raises BackendNotInstalledError: with the command that installs it.
    :raises BackendBusyError: if the framework cannot run here now.
    :raises TypeError: for an option that the backend does not know.
    :raises OSError: if what `open_stdout` or `open_stderr` had taken could not be written, and nobody was told.
    """
    from bridgeio.oversight import Oversight  # slow to import, and not to be loaded by a signal handler

    chosen = load_backend(backend)
    oversight = Oversight(backend_options or {})

    async def main() -> T:
        task = current_task()
        task.host.mains.add(task)
        try:
            task.coro = coro = as_coroutine(async_fn, *args)
            with signals_wake(task.host), oversight.around_tasks(task.host):
                result: T = await coro
        finally:
            with CancelScope(shield=True):
                await end_visits(task)
                await flush_lingering(task.host)
                if len(task.host.mains) == 1:
                    await end_fed(task.host)
            task.host.mains.discard(task)
        for look in task.host.variables.get(LAST_LOOKS, ()):
            look(task.host)
        return result

    try:
        with oversight.around_run():
            return chosen.run(main, oversight.rest)
    except BaseExceptionGroup as group:
        leaving = _way_out(group)
        if leaving is None:
            raise
        raise leaving from group


def run_server(
    handler: Handler,
    host: str | None = None,
    port: int = 0,
    *,
    path: str | os.PathLike[str] | None = None,
    backend: str = "asyncio",
    backend_options: Mapping[str, object] | None = None,
    on_started: Callable[[Server], object] | None = None,
    **serve_options: Any,
) -> None:
    """Runs a server until SIGINT or SIGTERM, then drains it; what a script calls.

    A second signal cancels the handlers at once; a third has its usual effect.

    :param path: a UNIX socket to listen on, instead of host and port.
    :param on_started: called with the `Server` as soon as it listens.
    :param serve_options: as for `serve`, or with a path for `serve_unix`.
    :raises ValueError: for a path and a host or port.
    """
    if path is not None and (host is not None or port):
        raise ValueError("run_server() takes either path or host and port, not both")

    async def main() -> None:
        if path is None:
            serving = serve(handler, host, port, **serve_options)
        else:
            serving = serve_unix(handler, path, **serve_options)
        await serve_until_signal(serving, on_started)

    run(main, backend=backend, backend_options=backend_options)


async def serve_until_signal(serving: Any, on_started: Callable[[Server], object] | None) -> None:
    """The body of `run_server`, for any kind of `Serving`."""
    stop = Event()
    everything = CancelScope()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            everything.cancel(f"a second {number.name}")
        stop.set()

    with signals_call(current_host(), on_signal, signal.SIGINT, signal.SIGTERM, times=2), everything:
        async with serving as server:
            if on_started is not None:
                on_started(server)
            await stop.wait()


def _way_out(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The KeyboardInterrupt or SystemExit that ends the program, however deep it stands."""
    for error in group.exceptions:
        found = _way_out(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, KeyboardInterrupt | SystemExit):
            return found
    return None
