"""Whole programs on Twisted's reactor, each for a process of its own; see `test_twisted`.

Each ends a reactor in a way from which there is no return, sends itself signals, or shows that a
process ends by itself. The docstring is the promise, what is printed the evidence.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

import bridgeio
from bridgeio.errors import BackendBusyError
from bridgeio.registry import current_host
from bridgeio_twisted import as_deferred
from echoing import echo, echo_round
from twisted_promises import install, installed, turn

PROGRAMS: dict[str, Callable[[str], None]] = {}


def program(function: Callable[[str], None]) -> Callable[[str], None]:
    PROGRAMS[function.__name__] = function
    return function


def start(name: str, kind: str) -> None:
    faulthandler.dump_traceback_later(45, exit=True)
    warnings.simplefilter("error")
    PROGRAMS[name](kind)


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201 - it is what the test reads


@program
def ten_runs(kind: str) -> None:
    """Ten runs in one process on one reactor, with Twisted's threads in use: nothing is left, and it ends."""
    reactors, held = set(), set()

    async def main() -> None:
        reactors.add(installed())
        assert await deferToThread(lambda: 3) == 3
        await turn(installed())
        await echo_round()

    for _ in range(10):
        bridgeio.run(main, backend="twisted", backend_options={"reactor": kind})
        held.add((len(os.listdir("/dev/fd")), threading.active_count()))
    say(*[type(reactor).__name__ for reactor in reactors], len(held))


@program
def shutdown(kind: str) -> None:
    """``reactor.stop()`` cancels our tasks, and waits for their cleanup and for what closed writers flush."""
    reactor = install(kind)
    listener = socket.create_server(("127.0.0.1", 0))
    received = bytearray()
    receiving = threading.Thread(target=receive_all, args=(listener, received))

    async def work() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.01)
                await deferToThread(say, "cleaned up in a thread")

    async def flood() -> None:
        writer = (await bridgeio.open_connection(*listener.getsockname()))[1]
        writer.write(bytes(4_000_000))
        writer.close()
        assert writer.get_write_buffer_size()
        reactor.stop()

    def cleaned_up(failure: Any) -> None:
        say(failure.type.__name__)
        reactor.callLater(0, receiving.start)  # until then, nothing can be flushed

    def begin() -> None:
        as_deferred(work()).addErrback(cleaned_up)
        as_deferred(flood()).addErrback(say)

    reactor.callWhenRunning(begin)
    reactor.run()
    receiving.join()
    ours = [reader for reader in reactor.getReaders() if type(reader).__module__.startswith("bridgeio")]
    say(len(received), ours, reactor.getDelayedCalls())


def receive_all(listener: socket.socket, received: bytearray) -> None:
    with listener, listener.accept()[0] as sock:
        while data := sock.recv(65536):
            received.extend(data)


@program
def before_the_reactor_runs(kind: str) -> None:
    """A coroutine may be handed over before ``reactor.run()``."""
    reactor = install(kind)
    as_deferred(echo_round()).addBoth(say).addBoth(lambda _: reactor.stop())
    reactor.run()


@program
def system_exit(kind: str) -> None:
    """SystemExit out of a task, alone or in a group, fails the Deferred and stops a reactor that is not ours."""
    reactor = install(kind)

    async def leave() -> None:
        sys.exit(3)

    async def leave_in_a_group() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(leave)
            await bridgeio.sleep_forever()

    def told(failure: Any) -> None:
        say(failure.type.__name__, reactor.running)

    as_deferred(leave_in_a_group()).addErrback(told)
    reactor.run()


@program
def stopped_run(kind: str) -> None:
    """``reactor.stop()`` in a run of ours ends it in order, and no other run can follow: the errors say so."""

    async def main() -> None:
        try:
            installed().stop()
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.01)
            say("cleaned up")

    for kind_of_error in (RuntimeError, BackendBusyError):
        try:
            bridgeio.run(main, backend="twisted", backend_options={"reactor": kind})
        except kind_of_error as error:
            say(error)


@program
def served(kind: str) -> None:
    """``run_server`` until a signal."""

    def on_started(server: bridgeio.Server) -> None:
        say(server.port)

    bridgeio.run_server(echo, "127.0.0.1", backend="twisted", backend_options={"reactor": kind}, on_started=on_started)
    say("drained")


@program
def interrupted(kind: str) -> None:
    """SIGINT while the reactor sleeps: the main task is cancelled, cleans up, and KeyboardInterrupt comes out."""

    async def main() -> None:
        try:
            say("waiting")
            await bridgeio.sleep_forever()
        finally:
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.01)
            say("cleaned up")

    try:
        bridgeio.run(main, backend="twisted", backend_options={"reactor": kind})
    except KeyboardInterrupt:
        say("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)


@program
def many_descriptors(kind: str) -> None:
    """With more than 1,100 descriptors open a stream works, also if the run begins among them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    opened: list[int] = []

    async def main() -> None:
        opened.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(1100))
        await echo_round()

    async def watch_a_high_one() -> None:
        while (filling := os.open("/dev/null", os.O_RDONLY)) < 1024:
            opened.append(filling)
        reading, writing = os.pipe()
        assert reading >= 1024
        os.close(opened.pop(0))
        held = os.listdir("/dev/fd")
        os.write(writing, b"x")
        fired: Deferred[None] = Deferred()
        handle = current_host().watch(reading, lambda: None if fired.called else fired.callback(None))
        await fired
        handle.cancel()
        assert os.listdir("/dev/fd") == held

    run(main, kind)
    os.close(opened.pop(0))
    run(watch_a_high_one, kind)
    run(echo_round, kind)
    say("done")


def run(function: Any, kind: str) -> None:
    bridgeio.run(function, backend="twisted", backend_options={"reactor": kind})


@program
def no_low_descriptor(kind: str) -> None:
    """Where select cannot watch any descriptor that is to be had, the error says why and what to do."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    run(echo_round, kind)  # installs the reactor
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        run(echo_round, kind)
    except OSError as error:
        say(error)
    for fd in opened:
        os.close(fd)
    run(echo_round, kind)
    say("done")


@program
def asked(kind: str) -> None:
    """A run in another thread than the main one, and one at a time."""
    seen: list[object] = []
    inside, leave = threading.Event(), threading.Event()

    async def main() -> None:
        await echo_round()
        inside.set()
        await deferToThread(leave.wait)
        seen.append(bridgeio.current_backend())

    async def nothing() -> None:
        """Is not even called."""

    thread = threading.Thread(target=run, args=(main, kind))
    thread.start()
    inside.wait(20)
    try:
        run(nothing, kind)
    except BackendBusyError as error:
        seen.append(str(error))
    leave.set()
    thread.join(20)
    run(echo_round, kind)
    say(*seen)
