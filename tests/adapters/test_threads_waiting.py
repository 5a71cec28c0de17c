"""Who waits for what on threads, and what each wait is ended by."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio.testing import until
from bridgeio_threads.host import ThreadsHost
from bridgeio_threads.lookout import Lookout
from bridgeio_threads.parking import Parking
from echoing import echo
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


def test_timers_of_several_tasks_need_no_thread_of_their_own() -> None:
    """However many tasks sleep, one of them waits for all."""

    async def main() -> int:
        async with bridgeio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(bridgeio.sleep, 60)
            await bridgeio.sleep(0.001)
            started = host().workers.alive
            group.cancel_scope.cancel()
        return started

    assert run(main) == 10


def test_the_attendant_ends_when_it_is_not_needed() -> None:
    """It is there while no task waits for a deadline, and not for long after."""

    async def main() -> None:
        attendant = host().attendant
        with bridgeio.fail_after(20):
            assert host().workers.alive == 0
            with bridgeio.lowlevel.blocking_section():
                while not attendant.running:
                    os.sched_yield()
            await until(lambda: not attendant.running and host().workers.alive == 0)

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


def test_bytes_left_over_go_out_after_a_drain_was_given_up() -> None:
    """The task that drained no longer polls for them; when it waits for something else, somebody does."""
    given_up = bridgeio.Event()

    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        writer.write(MEGABYTES)
        with bridgeio.move_on_after(0.01):
            await writer.drain()
        given_up.set()
        await reader.read()

    async def main() -> int:
        async with bridgeio.serve(handler, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            await given_up.wait()
            data = await reader.readexactly(len(MEGABYTES))
            writer.close()
            return len(data)

    assert run(main) == len(MEGABYTES)


def test_draining_needs_no_thread_of_its_own() -> None:
    """A task that is parked sends what is left over: nobody is started for it."""

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


def test_what_an_echo_has_left_over_is_sent_while_it_reads_the_next() -> None:
    """Written, not drained, and on to the next read: who is on the lookout sends it, and nobody is started for it."""
    left_over: list[int] = []

    async def main() -> None:
        stop = bridgeio.Event()
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = bridgeio.wrap(ours)
            async with bridgeio.create_task_group() as group:
                group.start_soon(stop.wait)
                writer.write(MEGABYTES)
                left_over.append(writer.get_write_buffer_size())
                took_all = threading.Thread(target=_take_and_answer, args=(theirs, len(MEGABYTES)))
                took_all.start()
                assert await reader.readexactly(4) == b"done"
                left_over.append(writer.get_write_buffer_size())
                assert not host().attendant.running
                stop.set()
            writer.close()
        took_all.join()

    run(main)
    assert left_over[0] > left_over[1] == 0


def _take_and_answer(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(sock.recv(65536))
    sock.sendall(b"done")


def test_waiting_for_the_close_of_an_idle_stream_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """``wait_closed`` of a stream that is open and writable is no busy loop."""

    polls = 0
    keep = Lookout.keep

    def count(lookout: Lookout, parking: Parking) -> None:
        nonlocal polls
        polls += 1
        keep(lookout, parking)

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            _, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with bridgeio.create_task_group() as group:
                group.start_soon(writer.wait_closed)
                await bridgeio.sleep(0.05)
                writer.close()

    monkeypatch.setattr(Lookout, "keep", count)
    run(main)
    assert polls < 50


@pytest.mark.parametrize("how", ["wake each other", "give way"])
def test_tasks_that_are_always_ready_do_not_keep_a_descriptor_waiting(how: str) -> None:
    """With somebody in the baton's queue all the time nobody is on the lookout: a look is taken between the turns."""

    async def main() -> bytes:
        events = [bridgeio.Event(), bridgeio.Event()]
        ours, theirs = socket.socketpair()

        async def play(mine: int) -> None:
            while True:
                if how == "give way":
                    await bridgeio.sleep(0)
                else:
                    events[1 - mine].set()
                    await events[mine].wait()
                    events[mine] = bridgeio.Event()

        with theirs:
            reader, writer = bridgeio.wrap(ours)
            async with writer, bridgeio.create_task_group() as group:
                for mine in range(2):
                    group.start_soon(play, mine)
                await bridgeio.sleep(0)
                theirs.sendall(b"seen")
                data = await reader.read(4)
                group.cancel_scope.cancel()
        return data

    assert run(main) == b"seen"


def test_a_look_between_two_turns_may_wake_the_task_that_takes_it() -> None:
    """It has begun to park by then, and is put into the baton's queue like any other."""

    async def main() -> None:
        woken = bridgeio.Event()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            watch = host().watch(ours.fileno(), woken.set)
            theirs.sendall(b"ring")
            async with bridgeio.create_task_group() as group:
                group.start_soon(bridgeio.sleep, 0)
                host().lookout._turns = 1
                with bridgeio.fail_after(20):
                    await woken.wait()
            watch.cancel()

    run(main)


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


@pytest.mark.parametrize("busy", [False, True], ids=["waiting", "giving way"])
def test_a_callback_that_the_only_task_polls_for_is_the_hosts(busy: bool) -> None:
    """What the descriptor of a stream calls may end waits and close writers, also where the task that waits is the
    one that polls, or gives way between two steps."""

    async def main() -> tuple[bool, bool]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.setblocking(False)
            _, writer = bridgeio.wrap(ours)
            _, other = bridgeio.wrap(theirs)
            event = bridgeio.Event()

            def flushed() -> None:
                source.call_when_writable(None)
                other.close()
                event.set()

            source = writer._source
            source.call_when_writable(flushed)
            with bridgeio.fail_after(20):
                while busy and not event.is_set():
                    await bridgeio.sleep(0)
                await event.wait()
            return event.is_set(), other.is_closing()

    assert run(main) == (True, True)


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


def test_a_call_that_asks_for_itself_again_keeps_no_deadline_waiting() -> None:
    """Calls are turns like those of tasks: a look is taken between them."""

    async def main() -> None:
        call_soon, ended = host().call_soon_threadsafe, False

        def again() -> None:
            if not ended:
                call_soon(again)

        again()
        await bridgeio.sleep(0.01)
        ended = True

    run(main)


# Cancelling


@pytest.mark.parametrize("wait", ["read", "event", "sleep", "accept", "drain", "lock", "queue", "start"])
def test_a_cancel_reaches_every_kind_of_wait(wait: str) -> None:
    """A task that polls, waits on a lock, or is somebody else's to wake, ends at once."""

    async def deaf(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        await bridgeio.sleep_forever()

    async def main() -> None:
        async with bridgeio.serve(deaf, "127.0.0.1") as server:
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            writer.write(MEGABYTES * 4)
            held = bridgeio.Lock()
            held.acquire_nowait()
            waits: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
                "read": reader.readline,
                "event": bridgeio.Event().wait,
                "sleep": bridgeio.sleep_forever,
                "accept": server.serve_forever,
                "drain": writer.drain,
                "lock": held.acquire,
                "queue": bridgeio.Queue[int]().get,
                "start": start_what_never_starts,
            }
            async with bridgeio.create_task_group() as group:
                group.start_soon(waits[wait])
                await bridgeio.sleep(0.01)
                group.cancel_scope.cancel()
            writer.abort()
            await server.close(grace=0)

    run(main)


async def start_what_never_starts() -> None:
    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await bridgeio.sleep_forever()

    async with bridgeio.create_task_group() as group:
        await group.start(child)


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
