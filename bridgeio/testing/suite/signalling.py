"""Chapter: signalling. Signals of the system's as an async iterator: none is lost, and what was there comes back.

The signals here are such as do nothing to a process that does not handle them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from signal import SIGCONT, SIGURG, SIGWINCH, Signals
from typing import Any

import pytest

import bridgeio
from bridgeio import open_signal_receiver
from bridgeio.testing.meetings import turns, when
from bridgeio.testing.programs import run_program
from bridgeio.testing.resources import until
from bridgeio.unpatched import get_ident, original

pytestmark = pytest.mark.bridgeio


def raise_here(number: int) -> None:
    os.kill(os.getpid(), number)


@contextmanager
def _handled(*numbers: Signals) -> Iterator[list[int]]:
    """Somebody handles them by Python's own means, and is in force again at the end."""
    heard: list[int] = []

    def handler(number: int, frame: object) -> None:
        heard.append(number)

    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield heard
        assert [number for number in numbers if signal.getsignal(number) is not handler] == []
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def _kill_from_a_child(*numbers: Signals) -> None:
    """Starts a process that sends them, and leaves it to itself."""
    commands = " && ".join(f"kill -{number:d} {os.getpid()}" for number in numbers)
    child = original("os", "posix_spawn")("/bin/sh", ["sh", "-c", f"({commands}) &"], os.environ)
    original("os", "waitpid")(child, 0)


async def test_signals_arrive() -> None:
    """What this process and another one send comes out of the iterator, as `signal.Signals`."""
    with open_signal_receiver(SIGURG, SIGWINCH) as signals:
        raise_here(SIGURG)
        number = await anext(signals)
        assert (number, type(number)) == (SIGURG, Signals)
        _kill_from_a_child(SIGWINCH)
        async for number in signals:
            assert number is SIGWINCH
            break


async def test_a_wait_is_ended_by_a_signal() -> None:
    """Also where the system gives the signal to a thread that has nothing to do with the run."""

    def send() -> None:
        original("time", "sleep")(0.001)  # by then the loop sleeps, at most times
        signal.pthread_kill(get_ident(), SIGURG)

    with open_signal_receiver(SIGURG) as signals:
        for _ in range(100):
            original("_thread", "start_new_thread")(send, ())
            assert await anext(signals) == SIGURG


async def test_hundreds_of_signals_from_outside() -> None:
    """Each that is sent after the last was read is read, however the two processes meet."""
    rounds = 300
    ours, childs = os.pipe()
    try:
        child = original("os", "posix_spawn")(
            "/bin/sh",
            ["sh", "-c", f"while read answer; do kill -{SIGURG:d} {os.getpid()}; done"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, ours, 0), (os.POSIX_SPAWN_CLOSE, childs)],
        )
        with open_signal_receiver(SIGURG) as signals:
            for _ in range(rounds):
                os.write(childs, b"again\n")
                assert await anext(signals) == SIGURG
    finally:
        for fd in (ours, childs):
            original("os", "close")(fd)  # a patched one closes when gevent's hub has had a turn
    original("os", "waitpid")(child, 0)


async def test_a_flood_of_signals() -> None:
    """However many come at once, each number is read at least once, and after the last that has come."""
    with open_signal_receiver(SIGURG, SIGWINCH, SIGCONT) as signals:
        read: list[int] = []

        async def read_all() -> None:
            async for number in signals:
                read.append(number)

        async with bridgeio.create_task_group() as group:
            group.start_soon(read_all)
            for number in (SIGURG, SIGWINCH, SIGCONT):
                for _ in range(300):
                    raise_here(number)
                await until(lambda: read and not signals._unread)
                assert set(read) == {number}
                read.clear()
                raise_here(number)
                await until(lambda: read)
                read.clear()
            group.cancel_scope.cancel()


async def test_signals_are_kept_while_nobody_waits() -> None:
    """Each number once, in the order in which they came first."""
    with open_signal_receiver(SIGURG, SIGWINCH, SIGCONT) as signals:
        for number in (SIGWINCH, SIGURG, SIGWINCH, SIGCONT, SIGURG):
            raise_here(number)
        assert [await anext(signals) for _ in range(3)] == [SIGWINCH, SIGURG, SIGCONT]
        raise_here(SIGURG)
        assert await anext(signals) == SIGURG
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:
                group.start_soon(when, lambda: len(signals._line), scope.cancel)
                await anext(signals)
        assert scope.cancelled_caught


@pytest.mark.parametrize("first", [0, 1])
async def test_several_receivers(first: int) -> None:
    """Each gets each of its signals; whichever is closed first, the other goes on, then all is as before."""
    with _handled(SIGURG, SIGWINCH) as heard:
        receivers = [open_signal_receiver(SIGURG, SIGWINCH), open_signal_receiver(SIGWINCH)]
        entered = [receiver.__enter__() for receiver in receivers]
        raise_here(SIGWINCH)
        assert [await anext(signals) for signals in entered] == [SIGWINCH] * 2
        receivers[first].__exit__(None, None, None)
        raise_here(SIGWINCH)
        assert await anext(entered[1 - first]) == SIGWINCH
        assert heard == []
        receivers[1 - first].__exit__(None, None, None)
        raise_here(SIGWINCH)
        raise_here(SIGURG)
        await until(lambda: len(heard) == 2)
    assert heard == [SIGWINCH, SIGURG]


async def test_many_receivers_that_come_and_go() -> None:
    """Opened and closed in every order by many tasks: none misses a signal, and in the end all is as before."""
    with _handled(SIGURG) as heard:
        receivers = [open_signal_receiver(SIGURG) for _ in range(12)]
        entered: list[Any] = []
        for step, receiver in enumerate(receivers):
            entered.append(receiver.__enter__())
            raise_here(SIGURG)
            assert [await anext(signals) for signals in entered] == [SIGURG] * len(entered)
            if step % 3 == 2:
                entered.pop(step % len(entered)).__exit__(None, None, None)
        for signals in entered:
            signals.__exit__(None, None, None)
        raise_here(SIGURG)
        await until(lambda: heard)
    assert heard == [SIGURG]


def _are_waiting(signals: Any, count: int) -> bool:
    return len(signals._line) == count


async def test_several_tasks_wait_on_one_receiver() -> None:
    """Each signal goes to one of them, in the order in which they came."""
    read: list[tuple[int, int]] = []

    async def read_one(who: int) -> None:
        read.append((who, await anext(signals)))

    with open_signal_receiver(SIGURG, SIGWINCH) as signals:
        async with bridgeio.create_task_group() as group:
            for who in range(2):
                group.start_soon(read_one, who)
                await until(partial(_are_waiting, signals, who + 1))
            raise_here(SIGURG)
            raise_here(SIGWINCH)
    assert sorted(read) == [(0, SIGURG), (1, SIGWINCH)]


async def test_a_closed_receiver() -> None:
    """Who waits when the block is left, and who waits later, gets a ClosedResourceError that names the signals."""
    ended: list[str] = []

    async def wait() -> None:
        with pytest.raises(bridgeio.ClosedResourceError) as caught:
            await anext(signals)
        ended.append(str(caught.value))

    async with bridgeio.create_task_group() as group:
        with open_signal_receiver(SIGURG, SIGWINCH) as signals:
            group.start_soon(wait)
            await until(lambda: len(signals._line))
    await wait()
    assert ended == ["the receiver of SIGURG or SIGWINCH was closed: its with-block is over"] * 2


async def test_a_receiver_is_for_one_block() -> None:
    """It cannot be waited on before, nor be entered twice; each time the error says what to write."""
    receiver = open_signal_receiver(SIGURG)
    with pytest.raises(RuntimeError, match="with open_signal_receiver"):
        await anext(receiver)
    with receiver, pytest.raises(RuntimeError, match="open another one"):
        receiver.__enter__()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([], TypeError, "at least"),
        (["SIGTERM"], TypeError, "not 'SIGTERM'"),
        ([True], TypeError, "not True"),
        ([1.0], TypeError, "not 1.0"),
        ([0], ValueError, "no signal 0"),
        ([SIGURG, 9999], ValueError, "no signal 9999"),
        ([signal.SIGKILL], ValueError, "SIGKILL cannot be received"),
        ([int(signal.SIGSTOP)], ValueError, "SIGSTOP cannot be received"),
    ],
)
async def test_signals_that_cannot_be_received(given: list[Any], error: type[Exception], words: str) -> None:
    """What is no signal, or cannot be handled, is refused at once, in words."""
    with pytest.raises(error, match=words):
        open_signal_receiver(*given)


async def test_a_signal_without_a_name() -> None:
    """A real-time signal comes as its number."""
    if not hasattr(signal, "SIGRTMIN"):
        pytest.skip("this system has no real-time signals")
    number = signal.SIGRTMIN + 3
    with open_signal_receiver(number) as signals:
        raise_here(number)
        assert await anext(signals) == number


def test_receivers_belong_to_the_main_thread(backend: str, backend_options: dict[str, Any]) -> None:
    """In a run in another thread the error says where a receiver can be opened; nothing is left behind."""
    said: list[str] = []
    done = original("_thread", "allocate_lock")()
    done.acquire()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="main thread") as caught, open_signal_receiver(SIGURG):
            raise AssertionError("never reached")
        said.append(str(caught.value))

    def run() -> None:
        try:
            bridgeio.run(main, backend=backend, backend_options=backend_options)
        finally:
            done.release()

    with _handled(SIGURG):
        original("_thread", "start_new_thread")(run, ())
        done.acquire()
    assert len(said) == 1


@pytest.mark.bridgeio_needs("signals_in_any_task")
async def test_a_receiver_in_a_child_task() -> None:
    """Any task of a run in the main thread may open one."""
    read: list[int] = []

    async def read_one() -> None:
        with open_signal_receiver(SIGURG) as signals:
            raise_here(SIGURG)
            read.append(await anext(signals))

    async with bridgeio.create_task_group() as group:
        group.start_soon(read_one)
    assert read == [SIGURG]


async def test_what_was_not_read_is_raised_again() -> None:
    """Signals that nobody has read when the block is left take their usual way; those that were read do not."""
    with _handled(SIGURG, SIGWINCH, SIGCONT) as heard:
        with open_signal_receiver(SIGURG, SIGWINCH, SIGCONT) as signals:
            for number in (SIGURG, SIGWINCH, SIGCONT):
                raise_here(number)
            assert await anext(signals) == SIGURG
        await until(lambda: len(heard) == 2)
        with open_signal_receiver(SIGURG), open_signal_receiver(SIGURG) as other:
            raise_here(SIGURG)
            assert await anext(other) == SIGURG
        await until(lambda: len(heard) == 3)
        with open_signal_receiver(SIGURG) as outer:
            with open_signal_receiver(SIGURG):
                raise_here(SIGURG)
            await turns(3)
            assert await anext(outer) == SIGURG
        await turns(3)
    assert heard == [SIGWINCH, SIGCONT, SIGURG]


async def test_a_ctrl_c_that_nobody_has_read() -> None:
    """It comes out of the block as the KeyboardInterrupt that it would have been."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), open_signal_receiver(signal.SIGINT):
            raise_here(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


async def test_a_handler_that_was_set_meanwhile_stays() -> None:
    """It gets the signals, and is not replaced when the block is left; ours does no harm if it comes back later."""
    later: list[int] = []
    with _handled(SIGURG) as heard:
        first = signal.getsignal(SIGURG)
        with open_signal_receiver(SIGURG):
            ours = signal.signal(SIGURG, lambda number, frame: later.append(number))
            with open_signal_receiver(SIGURG) as above:
                raise_here(SIGURG)
                assert await anext(above) == SIGURG
        raise_here(SIGURG)
        await until(lambda: later)
        assert heard == []
        signal.signal(SIGURG, ours)  # as one does who restores what he has found
        raise_here(SIGURG)
        await until(lambda: heard)
        assert signal.getsignal(SIGURG) is first


def test_signals_in_a_forked_child(backend: str, backend_options: dict[str, Any]) -> None:
    """There they have the effect that they had before the receiver was opened, and the parent hears nothing."""
    assert run_program(_FORKING, backend, **backend_options) == "child: ended by SIGTERM\nparent: SIGTERM\n"


_FORKING = """
import os, signal, time, warnings
warnings.simplefilter("ignore")  # Python's, about forks in processes with threads

async def main():
    with bridgeio.open_signal_receiver(signal.SIGTERM) as signals:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
            os._exit(0)
        ended = (0, 0)
        while ended == (0, 0):
            await bridgeio.sleep(0.001)
            ended = os.waitpid(child, os.WNOHANG)
        print("child: ended by", signal.Signals(os.WTERMSIG(ended[1])).name)
        with bridgeio.move_on_after(0.05):
            raise AssertionError(await anext(signals))
        os.kill(os.getpid(), signal.SIGTERM)
        print("parent:", (await anext(signals)).name)

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""

__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
