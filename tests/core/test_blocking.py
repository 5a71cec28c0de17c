"""The same source from synchronous code: no event loop, no thread, one run for all calls."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio import blocking
from bridgeio.registry import current_task
from fresh import run
from on_threads import is_parked

MEGABYTES = b"0123456789abcdef" * (1 << 18)  # more than the kernel takes at once


class Connection:
    """A stream that was opened by a call of `blocking`, and the raw socket at its other end."""

    def __init__(self, listener: socket.socket) -> None:
        self.reader, self.writer = blocking(bridgeio.open_connection)(*listener.getsockname())
        self.peer, _ = listener.accept()
        self.peer.settimeout(20)

    def receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size and (more := self.peer.recv(size - len(data))):
            data += more
        return bytes(data)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def connection(listener: socket.socket) -> Iterator[Connection]:
    made = Connection(listener)
    with made.peer:
        yield made
        made.writer.abort()


def wait_until_parked(thread: threading.Thread) -> None:
    """Until a thread is asleep in a wait of ours."""
    pause = threading.Event()
    while not (is_parked(thread) and is_asleep(thread)):
        pause.wait(0.001)


def is_asleep(thread: threading.Thread) -> bool:
    """Not on the way there: a signal that came then would be handled after the wait."""
    stat = Path(f"/proc/self/task/{thread.native_id}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "S"


def in_thread(function: Any, *args: Any) -> threading.Thread:
    (thread := threading.Thread(target=function, args=args)).start()
    return thread


# One run for all calls

SEQUENTIAL = """
import _thread, os, socket, sys, threading
import bridgeio
from bridgeio import blocking
def refuse(*args):
    raise SystemExit("a thread is started")
_thread.start_new_thread = refuse
def threads():
    return max(threading.active_count(), len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0)
async def give_up(reader):
    with bridgeio.move_on_after(0.01) as scope:
        await reader.readline()
    return scope.cancelled_caught

with socket.create_server(("127.0.0.1", 0)) as listener:
    seen = []
    for name in ("127.0.0.1", "localhost"):
        reader, writer = blocking(bridgeio.open_connection)(name, listener.getsockname()[1])
        peer, _ = listener.accept()
        writer.write(b"question")
        blocking(writer.drain)()
        seen.append(peer.recv(100))
        peer.sendall(b"one\\ntwo\\n")
        seen += list(blocking(reader.readline)() for _ in range(2))
        seen.append(blocking(give_up)(reader))
        blocking(bridgeio.sleep)(0.001)
        seen.append(threads())
        writer.close()
        blocking(writer.wait_closed)()
        peer.close()
print(seen, sorted({"asyncio", "trio", "gevent", "twisted"} & set(sys.modules)))
"""


def test_a_sequential_client_starts_no_thread_and_no_loop(tmp_path: Path) -> None:
    """Connecting, resolving, deadlines and sleeps of plain code happen in its own thread, without a framework."""
    rounds = [b"question", b"one\n", b"two\n", True, 1] * 2
    assert run(sys.executable, "-c", SEQUENTIAL, cwd=tmp_path).strip() == f"{rounds} []"


def test_a_connection_outlives_the_call_that_made_it(connection: Connection) -> None:
    """What one call opened, the next ones read and write."""
    connection.peer.sendall(b"first\nsecond\n")
    assert blocking(connection.reader.readline)() == b"first\n"
    connection.writer.write(b"written outside any call")
    assert connection.receive(24) == b"written outside any call"
    assert blocking(connection.reader.readline)() == b"second\n"


def test_another_thread_may_go_on_with_a_connection(connection: Connection) -> None:
    """The calls of all threads share one run."""
    seen: list[bytes] = []

    def use() -> None:
        connection.writer.write(b"question")
        seen.append(blocking(connection.reader.readline)())

    thread = in_thread(use)
    assert connection.receive(8) == b"question"
    connection.peer.sendall(b"answer\n")
    thread.join()
    assert seen == [b"answer\n"]


def test_calls_wait_at_the_same_time(listener: socket.socket) -> None:
    """A call that waits holds up no other thread's call."""
    first, second = Connection(listener), Connection(listener)
    seen: list[bytes] = []
    waiting = in_thread(lambda: seen.append(blocking(first.reader.readline)()))
    wait_until_parked(waiting)
    second.peer.sendall(b"second\n")
    assert blocking(second.reader.readline)() == b"second\n"
    assert seen == []
    first.peer.sendall(b"first\n")
    waiting.join()
    assert seen == [b"first\n"]
    for connection in (first, second):
        connection.writer.abort()
        connection.peer.close()


def test_a_call_of_one_thread_wakes_that_of_another() -> None:
    """An event is set by one thread's call while another's waits for it."""
    event, waits = bridgeio.Event(), threading.Event()

    async def wait() -> None:
        waits.set()
        await event.wait()

    async def set_event() -> None:
        event.set()

    thread = in_thread(blocking(wait))
    assert waits.wait(20)
    blocking(set_event)()
    thread.join()
    assert event.is_set()


def test_a_second_reader_is_refused_in_another_thread(connection: Connection) -> None:
    """Two threads that read one connection: the second gets BusyError, the first its line."""
    seen: list[bytes] = []
    thread = in_thread(lambda: seen.append(blocking(connection.reader.readline)()))
    wait_until_parked(thread)
    with pytest.raises(bridgeio.BusyError):
        blocking(connection.reader.readline)()
    connection.peer.sendall(b"line\n")
    thread.join()
    assert seen == [b"line\n"]


def test_context_variables_are_the_callers() -> None:
    """What a call sets, its caller sees, and the next call."""
    variable = contextvars.ContextVar("variable", default=0)

    async def count() -> int:
        variable.set(variable.get() + 1)
        return variable.get()

    assert [blocking(count)(), blocking(count)(), variable.get()] == [1, 2, 2]


# Writing between the calls


def test_bytes_left_over_are_flushed_between_the_calls(connection: Connection) -> None:
    """What the kernel does not take at once goes out while the caller does something else."""
    connection.writer.write(MEGABYTES)
    assert connection.writer.get_write_buffer_size() > 0
    assert connection.receive(len(MEGABYTES)) == MEGABYTES


def test_bytes_left_over_are_flushed_during_a_call(connection: Connection) -> None:
    """A call that only reads sends what an earlier one has written."""

    async def ask() -> bytes:
        connection.writer.write(MEGABYTES)
        return await connection.reader.readline()

    seen: list[bytes] = []
    thread = in_thread(lambda: seen.append(blocking(ask)()))
    assert connection.receive(len(MEGABYTES)) == MEGABYTES
    connection.peer.sendall(b"got it\n")
    thread.join()
    assert seen == [b"got it\n"]


def test_writes_of_several_threads_stay_whole(connection: Connection) -> None:
    """Threads write between their calls while others flush; the bytes of each write stay together."""
    message, times, writers = 3000, 200, b"abcd"
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def write(letter: int) -> None:
            for _ in range(times):
                connection.writer.write(bytes([letter]) * message)

        threads = [in_thread(write, letter) for letter in writers]
        data = connection.receive(message * times * len(writers))
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    messages = [data[at : at + message] for at in range(0, len(data), message)]
    assert all(len(set(part)) == 1 for part in messages)
    assert len(messages) == times * len(writers)


CLOSING = """
import sys
import bridgeio
from bridgeio import blocking
reader, writer = blocking(bridgeio.open_connection)("127.0.0.1", int(sys.argv[1]))
writer.linger = float(sys.argv[2])
writer.write(bytes(8 << 20))
writer.close()
"""


def test_the_process_ends_when_what_was_closed_has_gone_out(listener: socket.socket) -> None:
    """A program that closes and ends loses nothing of what it wrote."""
    port = str(listener.getsockname()[1])
    with subprocess.Popen([sys.executable, "-c", CLOSING, port, "60"]) as program:
        peer, _ = listener.accept()
        with peer:
            received = 0
            while data := peer.recv(1 << 20):
                received += len(data)
        assert program.wait(20) == 0
    assert received == 8 << 20


def test_the_process_ends_when_a_peer_takes_nothing(listener: socket.socket) -> None:
    """A peer that never reads keeps a program only for the time of ``linger``."""
    port = str(listener.getsockname()[1])
    with subprocess.Popen([sys.executable, "-c", CLOSING, port, "0.05"]) as program:
        peer, _ = listener.accept()
        with peer:
            assert program.wait(20) == 0


# Context managers and iterators


def test_an_async_context_manager_serves_a_with_block() -> None:
    """Its value is bound, both its ends run, and so does what it started in between."""

    async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        async for line in reader:
            writer.write(line)

    with blocking(bridgeio.serve)(echo, "127.0.0.1") as server:
        reader, writer = blocking(bridgeio.open_connection)("127.0.0.1", server.port)
        writer.write(b"one\ntwo\n")
        writer.write_eof()
        assert list(blocking(lambda: reader)()) == [b"one\n", b"two\n"]
        writer.close()
    with pytest.raises(bridgeio.ConnectError):
        blocking(bridgeio.open_connection)("127.0.0.1", server.port)


def test_a_with_block_hands_its_error_to_the_manager() -> None:
    """The manager sees the error, and may take it."""
    seen: list[BaseException] = []

    @asynccontextmanager
    async def catching() -> AsyncIterator[str]:
        try:
            yield "value"
        except KeyError as error:
            seen.append(error)

    with blocking(catching)() as value:
        if value == "value":
            raise KeyError(value)
    assert [error.args for error in seen] == [("value",)]


def test_calls_in_a_block_are_inside_its_scope() -> None:
    """A scope that the block entered cancels the calls that are made in it."""

    @asynccontextmanager
    async def limited() -> AsyncIterator[bridgeio.CancelScope]:
        with bridgeio.move_on_after(0.01) as scope:
            yield scope

    went_on = False
    with blocking(limited)() as scope:
        blocking(bridgeio.sleep_forever)()
        went_on = True
    assert scope.cancelled_caught
    assert not went_on


def test_an_async_iterator_serves_a_for_loop() -> None:
    """Each step is a call of its own."""

    async def count() -> AsyncIterator[int]:
        for number in range(3):
            await bridgeio.sleep(0)
            yield number

    assert list(blocking(count)()) == [0, 1, 2]


def test_an_iterator_that_is_closed_cleans_up() -> None:
    """``close`` runs the rest of an async generator, with its awaits, before it returns."""
    ended: list[bool] = []

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            await bridgeio.sleep(0)
            ended.append(True)

    numbers = blocking(endless)()
    assert next(numbers) == 1
    numbers.close()
    assert ended == [True]


def test_an_iterator_that_is_left_cleans_up() -> None:
    """The collector finds an abandoned generator; its cleanup awaits inside the run."""
    ended = threading.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            await bridgeio.sleep(0)
            ended.set()

    next(blocking(endless)())
    gc.collect()
    assert ended.wait(20)


# Where it is called


def test_inside_a_threads_task_the_call_is_that_task() -> None:
    """A synchronous function in the middle of a task may call ``blocking``: same task, same scopes."""

    async def who() -> object:
        return current_task()

    async def main() -> None:
        assert blocking(who)() is current_task()
        with bridgeio.move_on_after(0.01) as scope:
            blocking(bridgeio.sleep_forever)()
        assert scope.cancelled_caught

    bridgeio.run(main, backend="threads")


def test_a_call_inside_a_call_is_the_same_task() -> None:
    """The same outside a run."""

    async def who() -> object:
        return current_task()

    async def nested() -> bool:
        return blocking(who)() is current_task()

    assert blocking(nested)()


def test_under_an_event_loop_it_is_refused() -> None:
    """It would stop the loop: RuntimeError says so, and names to_thread."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="to_thread"):
            blocking(bridgeio.sleep)(0)

    asyncio.run(main())


def test_in_a_worker_thread_of_an_event_loop_it_runs(connection: Connection) -> None:
    """The loop's thread is not the worker's; the worker inherits its context and is not fooled by it."""
    connection.peer.sendall(b"line\n")

    async def main() -> bytes:
        return await asyncio.to_thread(blocking(connection.reader.readline))

    assert asyncio.run(main()) == b"line\n"


def test_what_is_no_async_function_is_refused() -> None:
    """The error says what is wanted, and what came."""
    with pytest.raises(TypeError, match="returned int"):
        blocking(lambda: 3)()  # type: ignore[arg-type, return-value]


def test_outside_a_call_there_is_no_task() -> None:
    """The run that calls share is nobody's surroundings between them."""
    blocking(bridgeio.sleep)(0)
    with pytest.raises(bridgeio.NoBackendError):
        bridgeio.current_backend()


# Interruptions


def test_ctrl_c_comes_out_of_a_call(connection: Connection) -> None:
    """KeyboardInterrupt ends the wait, nothing is lost, and the next call goes on."""

    def interrupt() -> None:
        wait_until_parked(threading.main_thread())
        os.kill(os.getpid(), signal.SIGINT)

    thread = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        blocking(connection.reader.readline)()
    thread.join()
    connection.peer.sendall(b"line\n")
    assert blocking(connection.reader.readline)() == b"line\n"


FORKING = """
import bridgeio, os, socket, threading
from bridgeio import blocking

waits = threading.Event()
def native_threads():
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 1
async def wait_forever():
    waits.set()
    await bridgeio.sleep_forever()

threading.Thread(target=blocking(wait_forever), daemon=True).start()
waits.wait()
with socket.create_server(("127.0.0.1", 0)) as listener:
    reader, writer = blocking(bridgeio.open_connection)(*listener.getsockname())
    peer, _ = listener.accept()
    child = os.fork()
    if not child:
        try:
            blocking(reader.readline)()
        except bridgeio.StreamClosedError:
            other, _ = blocking(bridgeio.open_connection)(*listener.getsockname())
            peer, _ = listener.accept()
            peer.sendall(b"new\\n")
            blocking(bridgeio.sleep)(0.001)
            os._exit(blocking(other.readline)() != b"new\\n" or native_threads() != 1)
        os._exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    peer.sendall(b"old\\n")
    print(blocking(reader.readline)())
"""


def test_a_forked_child_starts_anew(tmp_path: Path) -> None:
    """The parent's streams are dead in the child, new ones work, and the parent notices nothing."""
    assert run(sys.executable, "-c", FORKING, cwd=tmp_path).split() == ["0", r"b'old\n'"]
