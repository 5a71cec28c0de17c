"""What is peculiar to asyncio and uvloop: native tasks, native cancellation, and loops that are not ours."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

import bridgeio
from descriptors import open_descriptors
from echoing import ask, echo
from loops import factory_of, run_native

# Inside an application that is already running


def test_a_native_task_serves_and_connects(world: str) -> None:
    """A coroutine of an application's own loop uses bridgeio as it is, and is told which world it is in."""

    async def main() -> tuple[str, bytes]:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            return bridgeio.current_backend(), await ask(server.port, b"hello\n")

    assert run_native(world, main) == (world, b"hello\n")


def test_a_foreign_web_handler_calls_bridgeio(world: str) -> None:
    """A callback server of asyncio's, whose handler tasks bridgeio did not start, awaits bridgeio in each."""

    async def main() -> list[bytes]:
        async with bridgeio.serve(echo, "127.0.0.1") as backend:

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(await ask(backend.port, await reader.readline()))
                writer.close()
                await writer.wait_closed()

            front = await asyncio.start_server(handle, "127.0.0.1", 0)
            port = front.sockets[0].getsockname()[1]
            answers = await asyncio.gather(*(native_ask(port, b"line %d\n" % number) for number in range(5)))
            front.close()
            await front.wait_closed()
            return answers

    assert run_native(world, main) == [b"line %d\n" % number for number in range(5)]


async def native_ask(port: int, line: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(line)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


def test_runs_of_a_native_loop_leave_no_descriptor(world: str) -> None:
    """A host lives as long as its loop: a program of many `asyncio.run` calls leaks nothing (engine rule 8)."""

    async def main() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            assert await ask(server.port, b"x\n") == b"x\n"

    run_native(world, main)
    before = open_descriptors()
    for _ in range(5):
        run_native(world, main)
    assert open_descriptors() - before == set()


def test_a_loop_closed_without_ceremony_gives_its_descriptor_back(world: str) -> None:
    """A loop that is just closed never says so; what it held goes with it."""
    import gc

    factory = factory_of(world)

    def once() -> None:
        loop = factory()
        loop.run_until_complete(bridge_a_byte())
        loop.close()

    once()
    gc.collect()
    before = open_descriptors()
    for _ in range(5):
        once()
    gc.collect()
    assert open_descriptors() - before == set()


async def bridge_a_byte() -> None:
    async with bridgeio.serve(echo, "127.0.0.1") as server:
        assert await ask(server.port, b"x\n") == b"x\n"


# Detection


def test_a_foreign_child_task_is_not_its_parent() -> None:
    """A native task inherits the context of the bridgeio task that made it, and is a task of its own all the same."""
    names: list[str] = []

    async def child() -> None:
        with bridgeio.CancelScope() as scope:
            scope.cancel()
            await bridgeio.sleep_forever()
        names.append("child was cancelled alone")

    async def main() -> None:
        task = asyncio.create_task(child())
        await bridgeio.sleep(0)
        await task
        names.append("parent goes on")

    bridgeio.run(main)
    assert names == ["child was cancelled alone", "parent goes on"]


def test_a_callback_is_told_that_it_cannot_wait(world: str) -> None:
    """A callback of the loop is in no task, also if a task's context came with it."""
    caught: list[BaseException] = []

    async def main() -> None:
        called = asyncio.Event()

        def callback() -> None:
            try:
                bridgeio.current_backend()
            except bridgeio.NoBackendError as error:
                caught.append(error)
            called.set()

        asyncio.get_running_loop().call_soon(callback)
        await called.wait()

    bridgeio.run(main, backend=world)
    assert "callback" in str(caught[0])


def test_a_worker_thread_is_not_the_task_that_started_it(world: str) -> None:
    """`asyncio.to_thread` copies the context; the thread is outside every loop nevertheless."""

    def in_thread() -> str:
        try:
            return bridgeio.current_backend()
        except bridgeio.NoBackendError:
            return "outside"

    async def main() -> str:
        return await asyncio.to_thread(in_thread)

    assert bridgeio.run(main, backend=world) == "outside"


def test_blocking_is_refused_where_it_would_stop_the_loop(world: str) -> None:
    """`blocking` inside a loop's thread says what to do instead of hanging the program."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="to_thread"):
            bridgeio.blocking(bridge_a_byte)()

    run_native(world, main)


def test_run_inside_a_running_loop_is_busy(world: str) -> None:
    """`run` cannot start a second loop in a thread, and says so."""

    async def main() -> None:
        with pytest.raises(bridgeio.BackendBusyError, match="await"):
            bridgeio.run(bridge_a_byte)

    run_native(world, main)


# Starting and leaving


def test_options_reach_the_runner() -> None:
    """``debug`` and ``loop_factory`` are asyncio's own; what is not an option is refused by name."""
    loops: list[asyncio.AbstractEventLoop] = []

    def factory() -> asyncio.AbstractEventLoop:
        loops.append(asyncio.new_event_loop())
        return loops[0]

    async def main() -> bool:
        return asyncio.get_running_loop() is loops[0] and loops[0].get_debug()

    assert bridgeio.run(main, backend_options={"loop_factory": factory, "debug": True})
    with pytest.raises(TypeError, match="colour"):
        bridgeio.run(main, backend_options={"colour": "blue"})


def test_two_threads_run_at_once(world: str) -> None:
    """Each thread may have its loop, and a run in one does not see the other's."""
    meeting = threading.Barrier(2, timeout=30)
    worlds: list[str] = []

    async def main() -> None:
        await asyncio.to_thread(meeting.wait)
        worlds.append(bridgeio.current_backend())

    threads = [threading.Thread(target=bridgeio.run, args=(main,), kwargs={"backend": world}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worlds == [world, world]


@pytest.mark.parametrize("end", ["KeyboardInterrupt", "SystemExit(3)"])
def test_what_ends_the_program_comes_out_of_run(world: str, end: str) -> None:
    """KeyboardInterrupt and SystemExit raised in a child come out of `run` bare, after everybody's cleanup."""
    program = f"""
import bridgeio
async def child():
    raise {end}
async def main():
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
            await bridgeio.sleep_forever()
    finally:
        print("cleaned up", flush=True)
bridgeio.run(main, backend={world!r})
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert finished.stdout == "cleaned up\n"
    assert finished.returncode == (3 if "Exit" in end else -2), finished.stderr


def test_awaitables_of_the_host_mix_with_ours(world: str) -> None:
    """One function awaits asyncio's queue and bridgeio's stream, in turn."""

    async def main() -> list[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()

        async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
            async for line in reader:
                await queue.put(line)

        async with bridgeio.serve(handler, "127.0.0.1") as server:
            _, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            async with writer:
                writer.write(b"one\ntwo\n")
                return [await queue.get(), await queue.get()]

    assert bridgeio.run(main, backend=world) == [b"one\n", b"two\n"]


def test_an_awaitable_is_not_a_function() -> None:
    """A coroutine object in place of its function is refused in words that name the mistake."""
    made = bridge_a_byte()
    with pytest.raises(TypeError, match="leave out"):
        bridgeio.run(made)  # type: ignore[arg-type]
