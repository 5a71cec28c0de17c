"""Signal receivers in an application that runs its own loop, beside the handling of signals that it brings."""

from __future__ import annotations

import pytest

from bridgeio.registry import is_installed
from bridgeio.testing.programs import run_program

COMMON = """
import asyncio, os, select, signal, threading
from bridgeio import open_signal_receiver
from signal import SIGTERM, SIGURG

theirs = []

def send():
    os.kill(os.getpid(), SIGTERM)

async def until(condition):
    while not condition():
        await bridgeio.sleep(0.001)

async def beside_theirs():
    with open_signal_receiver(SIGTERM) as signals:
        for _ in range(3):
            send()
            assert await anext(signals) == SIGTERM
    await bridgeio.sleep(0)
    theirs.clear()
    send()
    await until(lambda: theirs)
    print("theirs again")

def send_to_another_thread():
    select.select([], [], [], 0.002)  # by then the loop sleeps, at most times
    signal.pthread_kill(threading.get_ident(), SIGURG)

async def woken():
    first, second = open_signal_receiver(SIGURG), open_signal_receiver(SIGURG)
    first.__enter__()
    with second as signals:
        first.__exit__(None, None, None)
        for _ in range(100):
            threading.Thread(target=send_to_another_thread).start()
            assert await anext(signals) == SIGURG
    print("woken")

def run_asyncio(new_loop=None):
    async def main():
        await woken()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(SIGTERM, theirs.append, 1)
        await beside_theirs()
        loop.remove_signal_handler(SIGTERM)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())

def run_uvloop():
    import uvloop
    run_asyncio(uvloop.new_event_loop)

def run_tornado():
    from tornado.ioloop import IOLoop

    async def main():
        await woken()
        signal.signal(SIGTERM, lambda number, frame: IOLoop.current().add_callback_from_signal(theirs.append, 1))
        await beside_theirs()

    IOLoop.current().run_sync(main)

def run_trio():
    import trio

    async def main():
        await woken()
        with trio.open_signal_receiver(SIGTERM) as trios:
            async with trio.open_nursery() as nursery:
                async def read():
                    async for _ in trios:
                        theirs.append(1)
                nursery.start_soon(read)
                await beside_theirs()
                nursery.cancel_scope.cancel()

    trio.run(main)

def run_twisted():
    from twisted.internet import reactor
    from bridgeio_twisted import as_deferred
    reactor.addSystemEventTrigger("after", "shutdown", print, "stopped")

    async def main():
        await woken()
        handler = signal.getsignal(SIGTERM)
        signal.signal(SIGTERM, lambda *args: theirs.append(1))
        await beside_theirs()
        signal.signal(SIGTERM, handler)
        with open_signal_receiver(SIGTERM) as signals:
            send()
            assert await anext(signals) == SIGTERM
        assert signal.getsignal(SIGTERM) is handler
        send()  # which stops the reactor

    reactor.callWhenRunning(lambda: as_deferred(main()))
    reactor.run()

def run_gevent():
    import gevent
    import bridgeio_gevent

    async def main():
        await woken()
        watcher = gevent.signal_handler(SIGTERM, theirs.append, 1)
        await beside_theirs()
        watcher.cancel()
        with open_signal_receiver(SIGTERM):
            watcher = gevent.signal_handler(SIGTERM, theirs.append, 1)
            with open_signal_receiver(SIGTERM) as above:
                send()
                assert await anext(above) == SIGTERM
            theirs.clear()
            send()
            await until(lambda: theirs)
        theirs.clear()
        send()
        await until(lambda: theirs)
        watcher.cancel()
        print("in any order")

    bridgeio_gevent.spawn(main).get()

def run_threads():
    async def main():
        await woken()
        signal.signal(SIGTERM, lambda *args: theirs.append(1))
        await beside_theirs()

    bridgeio.blocking(main)()

globals()["run_" + BACKEND]()
"""

SAID = ["woken", "theirs again"]
BACKENDS = {
    "asyncio": SAID,
    "uvloop": SAID,
    "tornado": SAID,
    "trio": SAID,
    "twisted": [*SAID, "stopped"],
    "gevent": [*SAID, "in any order"],
    "threads": SAID,
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_beside_a_frameworks_own_handling(backend: str) -> None:
    """A receiver wakes the framework's loop; what that had installed for the same signal is in force after it."""
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    assert run_program(COMMON, backend).splitlines() == BACKENDS[backend]


def test_what_a_c_library_has_installed_comes_back() -> None:
    """`faulthandler` takes a signal without Python's knowledge, and has it again after the block."""
    program = """
import faulthandler, os, signal, tempfile

async def main():
    with tempfile.TemporaryFile() as file:
        faulthandler.register(signal.SIGUSR2, file)
        with bridgeio.open_signal_receiver(signal.SIGUSR2) as signals:
            os.kill(os.getpid(), signal.SIGUSR2)
            print((await anext(signals)).name)
        assert file.tell() == 0
        os.kill(os.getpid(), signal.SIGUSR2)
        file.seek(0)
        print(b"most recent call first" in file.read())

bridgeio.run(main)
"""
    assert run_program(program, "asyncio") == "SIGUSR2\nTrue\n"
