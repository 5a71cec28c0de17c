"""Starting Twisted's reactor, and finding it running."""

from __future__ import annotations

import asyncio
import atexit
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any, Generic, NoReturn, TypeVar

from twisted.internet.error import ReactorAlreadyRunning, ReactorNotRestartable

from bridgeio.contract import Backend, Main, cancel
from bridgeio.errors import BackendBusyError
from bridgeio.options import check_options
from bridgeio.unpatched import original
from bridgeio_twisted.host import TwistedHost, host_of
from bridgeio_twisted.task import Cancelled, not_a_task

__all__ = ["TwistedBackend"]

T = TypeVar("T")

REACTORS = {
    "epoll": ("epollreactor", "EPollReactor"),
    "poll": ("pollreactor", "PollReactor"),
    "select": ("selectreactor", "SelectReactor"),
    "asyncio": ("asyncioreactor", "AsyncioSelectorReactor"),
}


class TwistedBackend(Backend):
    """Twisted, with the one reactor that the process has."""

    name = "twisted"
    wraps = "the transport of a Twisted protocol"

    def __init__(self) -> None:
        self._one_at_a_time = original("_thread", "allocate_lock")()

    def run(self, main: Main[T], options: Mapping[str, object]) -> T:
        check_options(self.name, options, "reactor")
        named = self._named_reactor(**options)  # type: ignore[arg-type]
        if not self._one_at_a_time.acquire(False):
            raise _busy("bridgeio.run() is using it: await the function there")
        try:
            return _Run(_free_reactor(named), main).to_the_end()
        finally:
            self._one_at_a_time.release()

    def current_task(self) -> NoReturn:
        raise not_a_task()

    def current_host(self) -> TwistedHost:
        from twisted.internet import reactor

        return host_of(reactor)

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version  # slow to import, and seldom asked for

        versions = {"Twisted": version("twisted")}
        reactor = sys.modules.get("twisted.internet.reactor")
        if reactor is not None:
            versions["reactor"] = type(reactor).__name__
        return versions

    def unwrap(self, native: object) -> object | None:
        from bridgeio_twisted.streams import TwistedStream, is_transport  # which some reactors do not want so early

        return TwistedStream(native) if is_transport(native) else None

    def _named_reactor(self, *, reactor: str | None = None) -> str | None:
        if reactor is not None and reactor not in REACTORS:
            raise ValueError(f"there is no reactor called {reactor!r}; known: {', '.join(REACTORS)}")
        return reactor


class _Run(Generic[T]):
    """One `Backend.run`.

    Its host is new, so that what belongs to an earlier run is known not to belong to this one.
    """

    def __init__(self, reactor: Any, main: Main[T]) -> None:
        self._reactor = reactor
        self._main = main
        self._result: Any = None
        self._error: BaseException | None = None
        self._leaving: BaseException | None = None
        self._interrupted = False
        self._crashed = False
        self._over = False

    def to_the_end(self) -> T:
        retire_host(self._reactor)
        self._host = host = host_of(self._reactor)
        host.owned = True
        host.leave = self._leave
        coro = self._main()
        try:
            self._root = host.start(coro, "main", self._main_ended).root
            with self._interrupts():
                self._run_reactor()
        except (ReactorNotRestartable, ReactorAlreadyRunning) as error:
            coro.close()
            raise _busy(
                "it was stopped: Twisted starts no reactor again after stop(), "
                "so let a run end by returning from its function"
            ) from error
        finally:
            host.close()
            _end_threads(self._reactor)
        return self._outcome()

    def _run_reactor(self) -> None:
        """Until all has ended, also if somebody's crash() gets the reactor to return before."""
        self._reactor.run(installSignalHandlers=False)
        while not self._over:
            self._crashed = True
            self._cancel_main()
            self._reactor.run(installSignalHandlers=False)

    def _main_ended(self, result: T, error: BaseException | None) -> None:
        self._result, self._error = result, error
        self._host.wind_down().addCallback(self._all_ended)

    def _all_ended(self, _: None) -> None:
        """Not by stop(): no reactor runs again after that."""
        self._over = True
        self._reactor.crash()

    def _leave(self, error: BaseException) -> None:
        self._leaving = self._leaving or error
        self._cancel_main()

    def _cancel_main(self) -> None:
        if not self._root.called:
            cancel(self._root)

    def _outcome(self) -> T:
        error = self._leaving or self._error
        try:
            if error is None:
                return self._result  # type: ignore[no-any-return]
            if isinstance(error, Cancelled) and self._interrupted:
                raise KeyboardInterrupt from error
            if isinstance(error, Cancelled) and self._root.called:
                how = "crash()" if self._crashed else "stop()"
                raise RuntimeError(f"the reactor was left with {how} before the function had ended") from error
            raise error
        finally:
            del error, self._error, self._leaving

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        """Control-C cancels the main task, as under `asyncio.run`; a second one is raised where it
        comes. Without us, Twisted would log what is raised in the reactor, and swallow it."""
        import threading

        main_thread = original("_thread", "get_ident")() == threading.main_thread().ident
        if not main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._on_interrupt)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) == self._on_interrupt:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        self._host.call_soon_threadsafe(self._cancel_main)


def _free_reactor(named: str | None) -> Any:
    """The installed reactor, or the one that is now installed.

    :raises BackendBusyError: if it is another one than asked for, or is running.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor") or _install(named)
    if named is not None and not _is_a(reactor, named):
        raise _busy(f"{type(reactor).__name__} is installed already, so {named!r} cannot be")
    if reactor.running:
        raise _busy("it is running: start the coroutine in it with bridgeio_twisted.as_deferred()")
    if _is_a(reactor, "asyncio") and asyncio._get_running_loop() is not None:
        raise _busy("it is asyncio's, and an asyncio loop is running in this thread")
    return reactor


def _install(named: str | None) -> Any:
    if named == "asyncio":
        from twisted.internet import asyncioreactor

        loop = asyncio.new_event_loop()
        atexit.register(loop.close)  # nobody else will, as long as there may be another run
        asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    elif named is not None:
        import_module(f"twisted.internet.{REACTORS[named][0]}").install()
    from twisted.internet import reactor

    return reactor


def _is_a(reactor: Any, named: str) -> bool:
    module, class_name = REACTORS[named]
    known = sys.modules.get(f"twisted.internet.{module}")
    return known is not None and isinstance(reactor, getattr(known, class_name))


def _busy(why: str) -> BackendBusyError:
    return BackendBusyError(f"Twisted has one reactor in a process, and {why}")


def retire_host(reactor: Any) -> None:
    """What was made for the reactor while nobody ran it, and rests."""
    host = host_of(reactor)
    if not host.roots:
        host.close()


def _end_threads(reactor: Any) -> None:
    """A reactor that was left with crash() keeps its threads, and they keep the process. This is how
    Twisted's own test runner ends them; the next one who needs a thread gets a new pool."""
    if getattr(reactor, "threadpool", None) is not None:
        reactor._stopThreadPool()
