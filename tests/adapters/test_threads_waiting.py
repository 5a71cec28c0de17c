"""Who runs and who waits on threads: the baton, and what each wait is ended by."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing import until
from bridgeio_threads.baton import Baton, Gate
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.parking import Arm, Parking
from echoing import echo, echo_round
from on_threads import host, run

MEGABYTES = b"0123456789abcdef" * (1 << 18)  # more than the kernel takes at once
READING = """
import socket, sys
sock, _ = socket.socket(fileno=int(sys.argv[1])).accept()
try:
    while sock.recv(1 << 20):
        pass
except ConnectionResetError:
    pass
"""


@contextmanager
def reading_program() -> Iterator[int]:
    """The port of a program that takes one connection, and reads to its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        with subprocess.Popen([sys.executable, "-c", READING, str(fd)], pass_fds=[fd]) as program:
            yield listener.getsockname()[1]
            assert program.wait(20) == 0


@pytest.fixture
def impatient() -> Iterator[None]:
    """The interpreter changes threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# The baton


def fail(error: BaseException) -> None:
    raise AssertionError("nothing is called in this test") from error


@pytest.mark.usefixtures("impatient")
def test_code_between_two_waits_is_atomic() -> None:
    """Tasks that read, compute and store between their awaits lose no update."""
    counter = 0

    async def count() -> None:
        nonlocal counter
        for _ in range(300):
            before = counter
            sum(range(50))
            counter = before + 1
            await bridgeio.sleep(0)

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(count)

    run(main)
    assert counter == 8 * 300


def test_the_baton_goes_round() -> None:
    """Tasks that give way have their turns in the order in which they were started, again and again."""
    turns: list[int] = []

    async def take_turns(number: int) -> None:
        for _ in range(20):
            turns.append(number)
            await bridgeio.lowlevel.checkpoint()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for number in range(5):
                group.start_soon(take_turns, number)

    run(main)
    assert turns == list(range(5)) * 20


def test_the_baton_is_handed_over_in_the_order_of_asking() -> None:
    """Plain threads that queue get it first come, first served, and whoever drops it last in line."""
    baton, order = Baton(fail), list[int]()

    def take(number: int) -> None:
        baton.take(Gate())
        order.append(number)
        baton.drop()

    mine = Gate()
    baton.take(mine)
    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        while len(baton.queue) == number:
            time.sleep(0)
    baton.give_way(mine)
    assert order == [0, 1, 2, 3, 4]
    baton.drop()
    for thread in threads:
        thread.join()


def test_calls_wait_for_the_baton_to_be_dropped() -> None:
    """A call asked for while somebody holds the baton is made when it is dropped; else at once."""
    errors: list[BaseException] = []
    baton, calls = Baton(errors.append), list[str]()
    baton.take(Gate())
    baton.call_soon(lambda: calls.append("queued"))
    baton.call_soon(lambda: calls[99])
    assert calls == []
    baton.drop()
    assert calls == ["queued"]
    assert [type(error) for error in errors] == [IndexError]
    baton.call_soon(lambda: calls.append("at once"))
    assert calls == ["queued", "at once"]


@pytest.mark.usefixtures("impatient")
def test_no_hand_over_is_lost() -> None:
    """Threads that take and drop as fast as they can all come to their end, one at a time."""
    baton, inside, most = Baton(fail), 0, 0

    def use() -> None:
        nonlocal inside, most
        gate = Gate()
        for _ in range(2000):
            baton.take(gate)
            inside += 1
            most = max(most, inside)
            inside -= 1
            baton.drop()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_blocking_section_lets_the_others_go_on() -> None:
    """A call that blocks holds up nobody when it is marked; without the mark this would never end."""
    reached = threading.Event()

    async def other() -> None:
        reached.set()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(other)
            with bridgeio.lowlevel.blocking_section():
                assert reached.wait(20)

    run(main)


def test_timers_go_on_during_a_blocking_section() -> None:
    """A deadline of another task's is met while the only awake task blocks."""
    expired = threading.Event()

    async def other() -> None:
        await bridgeio.sleep(0.01)
        expired.set()

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(other)
            await bridgeio.sleep(0)
            with bridgeio.lowlevel.blocking_section():
                assert expired.wait(20)

    run(main)


def test_no_baton_is_refused() -> None:
    """The core relies on it: the error says so, and what to use instead."""
    with pytest.raises(ValueError, match="blocking_section"):
        run(echo_round, baton=False)


def test_an_unknown_option_is_refused() -> None:
    """As on every backend, a TypeError that names it."""
    with pytest.raises(TypeError, match="batton"):
        run(echo_round, batton=True)


# Who waits for what


def test_a_single_task_serves_itself() -> None:
    """Alone in its run, a task waits for its timers, its bytes left over and its drain without a thread."""

    async def main(port: int) -> int:
        with bridgeio.move_on_after(0.01):
            await bridgeio.sleep_forever()
        _, writer = await bridgeio.open_connection("127.0.0.1", port)
        writer.write(MEGABYTES)
        await writer.drain()
        writer.write(MEGABYTES)
        writer.close()
        await writer.wait_closed()
        return host().workers.alive

    with reading_program() as port:
        assert run(lambda: main(port)) == 0


def test_timers_of_several_tasks_share_one_thread() -> None:
    """However many tasks sleep, one thread more waits for all of them."""

    async def main() -> int:
        async with bridgeio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(bridgeio.sleep, 60)
            await bridgeio.sleep(0.001)
            started = host().workers.alive
            group.cancel_scope.cancel()
        return started

    assert run(main) == 10 + 1


def test_the_thread_for_timers_ends_with_its_work() -> None:
    """When one task is left, that task waits for its timers itself again."""

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.sleep, 0.01)
            await bridgeio.sleep(0.01)
            assert host().attendant.running
        with bridgeio.fail_after(20):
            await until(lambda: host().workers.alive == 0)

    run(main)


def test_timers_end_in_their_order() -> None:
    """A deadline that is set later and due earlier is met first."""
    ended: list[float] = []

    async def nap(seconds: float) -> None:
        await bridgeio.sleep(seconds)
        ended.append(seconds)

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            for seconds in (0.15, 0.1, 0.05):
                group.start_soon(nap, seconds)

    run(main)
    assert ended == [0.05, 0.1, 0.15]


def test_timers_are_met_while_the_only_task_never_waits() -> None:
    """A task that only gives way still notices its own deadline."""

    async def main() -> bool:
        with bridgeio.move_on_after(0.01) as scope:
            while True:
                await bridgeio.lowlevel.checkpoint()
        return scope.cancelled_caught

    assert run(main)


def test_bytes_left_over_go_out_while_the_task_waits_elsewhere() -> None:
    """A handler that wrote more than the kernel took, and then waits for an event, has it sent."""
    done = bridgeio.Event()

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(MEGABYTES)
        await done.wait()

    async def main() -> int:
        async with bridgeio.serve(handler, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            data = await reader.readexactly(len(MEGABYTES))
            done.set()
            writer.close()
            return len(data)

    assert run(main) == len(MEGABYTES)


def test_draining_is_done_by_the_task_that_drains() -> None:
    """With other tasks about, ``drain`` still polls in its own thread: nobody else is started for it."""

    async def main(port: int) -> None:
        stop = bridgeio.Event()
        _, writer = await bridgeio.open_connection("127.0.0.1", port)
        async with bridgeio.create_task_group() as group:
            group.start_soon(stop.wait)
            writer.set_write_buffer_limits(0)
            writer.write(MEGABYTES)
            await writer.drain()
            assert writer.get_write_buffer_size() == 0
            assert not host().attendant.running
            stop.set()
        writer.abort()

    with reading_program() as port:
        run(lambda: main(port))


def test_waiting_for_the_close_of_an_idle_stream_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """``wait_closed`` of a stream that is open and writable is no busy loop."""

    polls = 0
    poll = Parking.poll

    def count(parking: Parking, arms: list[Arm], timeout: float | None) -> list[tuple[int, int]]:
        nonlocal polls
        polls += 1
        return poll(parking, arms, timeout)

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            _, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with bridgeio.create_task_group() as group:
                group.start_soon(writer.wait_closed)
                await bridgeio.sleep(0.05)
                writer.close()

    monkeypatch.setattr(Parking, "poll", count)
    run(main)
    assert polls < 50


def test_a_watch_calls_back_until_it_is_cancelled() -> None:
    """A descriptor of anybody's can be watched, as on every host."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            got = bridgeio.Event()

            def on_readable() -> None:
                assert ours.recv(10) == b"ring"
                got.set()

            watch = host().watch(ours.fileno(), on_readable)
            theirs.sendall(b"ring")
            await got.wait()
            watch.cancel()

    run(main)


def test_calls_from_other_threads_reach_a_run_that_is_asleep() -> None:
    """call_soon_threadsafe wakes it, calls while no task is at work, and refuses after the run."""

    async def main() -> ThreadsHost:
        event = bridgeio.Event()
        threading.Thread(target=host().call_soon_threadsafe, args=(event.set,)).start()
        await event.wait()
        return host()

    ended = run(main)
    with pytest.raises(RuntimeError, match="ended"):
        ended.call_soon_threadsafe(print)


# Cancelling


@pytest.mark.parametrize("wait", ["read", "event", "sleep", "accept", "drain"])
def test_a_cancel_reaches_every_kind_of_wait(wait: str) -> None:
    """A task that polls, waits on a lock, or is somebody else's to wake, ends at once."""

    async def deaf(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await bridgeio.sleep_forever()

    async def main() -> None:
        async with bridgeio.serve(deaf, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            writer.write(MEGABYTES * 4)
            waits: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
                "read": reader.readline,
                "event": bridgeio.Event().wait,
                "sleep": bridgeio.sleep_forever,
                "accept": server.serve_forever,
                "drain": writer.drain,
            }
            async with bridgeio.create_task_group() as group:
                group.start_soon(waits[wait])
                await bridgeio.sleep(0.01)
                group.cancel_scope.cancel()
            writer.abort()
            await server.close(grace=0)

    run(main)


def test_a_busy_task_is_cancelled_at_its_next_wait() -> None:
    """Its own code is not interrupted, however long it takes."""
    busy, cancelled = threading.Event(), threading.Event()
    seen: list[str] = []

    async def work() -> None:
        with bridgeio.lowlevel.blocking_section():
            busy.set()
            cancelled.wait(20)
        seen.append("finished its work")
        await bridgeio.sleep(0)
        seen.append("was not cancelled")

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            group.start_soon(work)
            await until(busy.is_set)
            group.cancel_scope.cancel()
            cancelled.set()

    run(main)
    assert seen == ["finished its work"]
