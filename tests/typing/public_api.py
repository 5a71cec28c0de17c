"""What type checkers must see of the public API. Checked by mypy and pyright, never run."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from math import inf
from signal import SIGINT, SIGTERM, Signals
from typing import Any, assert_type

import bridgeio
from bridgeio import AsyncFile, CancelScope, DrainReport, Path, Reader, Server, TaskGroup, TaskStatus, Writer


async def add(a: int, b: int) -> int:
    return a + b


async def handler(reader: Reader, writer: Writer) -> None:
    assert_type(await reader.read(), bytes)
    assert_type(await reader.readline(), bytes)
    assert_type(await reader.readexactly(4), bytes)
    assert_type(await reader.readinto(bytearray(4)), int)
    assert_type(await reader.discard_until(), int)
    assert_type(reader.at_eof(), bool)
    async for line in reader:
        assert_type(line, bytes)
    writer.write(bytearray(b"x"))
    writer.write(memoryview(b"x"))
    writer.writelines([b"a", bytearray(b"b")])
    writer.write("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with writer as same:
        assert_type(same, Writer)


def running() -> None:
    assert_type(bridgeio.run(add, 1, 2), int)
    bridgeio.run(add, 1, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bridgeio.run(add, 1, 2, backend="trio", backend_options={"clock": None})
    assert_type(bridgeio.known_backends(), tuple[str, ...])
    bridgeio.run_server(handler, "localhost", 8888, backend="gevent", max_connections=10)


async def serving() -> None:
    async with bridgeio.serve(handler, "localhost", 0, grace=1.0) as server:
        assert_type(server, Server)
        assert_type(server.port, int)
        with server.move_on_when_closing(1.0) as scope:
            assert_type(scope, bridgeio.CancelScope)
        assert_type(await server.close(grace=0), DrainReport)
    async with bridgeio.serve_unix(handler, "/run/echo", mode=0o600) as server:
        assert_type(server.connections, int)
    bridgeio.serve(add)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def connecting() -> None:
    assert_type(await bridgeio.open_connection("localhost", 1), tuple[Reader, Writer])
    assert_type(await bridgeio.open_unix_connection("/run/echo"), tuple[Reader, Writer])


async def datagrams() -> None:
    async with await bridgeio.create_udp_socket(socket.AF_INET, local_port=5353, reuse_port=True) as udp:
        assert_type(udp, bridgeio.UDPSocket)
        assert_type(await udp.receive(), tuple[bytes, tuple[str, int]])
        await udp.send(await udp.receive())
        await udp.sendto(memoryview(b"x"), ip_address("::1"), 53)
        udp.join_group("224.0.0.251", interface="eth0")
        udp.set_options(ttl=3, broadcast=True, multicast_interface=2)
        async for data, (host, port) in udp:
            assert_type((data, host, port), tuple[bytes, str, int])
        await udp.send(b"x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with await bridgeio.create_connected_udp_socket("localhost", 53) as connected:
        assert_type(await connected.receive(), bytes)
        await connected.send(bytearray(b"x"))
        assert_type(connected.statistics().dropped, int | None)
        async for data in connected:
            assert_type(data, bytes)
    async with await bridgeio.create_unix_datagram_socket(local_path=Path("/run/s"), local_mode=0o600) as unix:
        assert_type(await unix.receive(), tuple[bytes, str | bytes])
        await unix.send(await unix.receive())
        await unix.sendto(b"x", Path("/run/other"))
    async with await bridgeio.create_connected_unix_datagram_socket("/run/s") as connected_unix:
        assert_type(await connected_unix.receive(), bytes)
        await connected_unix.send("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def names() -> None:
    for family, kind, proto, name, (host, port) in await bridgeio.getaddrinfo("localhost", "http", type=0):
        assert_type((family, kind), tuple[socket.AddressFamily, socket.SocketKind])
        assert_type((proto, name, host, port), tuple[int, str, str, int])
    assert_type(await bridgeio.getnameinfo(("127.0.0.1", 80)), tuple[str, str])


async def ready(task_status: TaskStatus[str] = bridgeio.TASK_STATUS_IGNORED) -> None:
    task_status.started("now")
    task_status.started(1)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def tasks() -> None:
    async with bridgeio.create_task_group() as group:
        assert_type(group, TaskGroup)
        group.start_soon(add, 1, 2)
        group.start_soon(add, 1, name="no b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await group.start(ready)
    with bridgeio.move_on_after(1) as scope:
        assert_type(scope, CancelScope)
        assert_type(scope.cancelled_caught, bool)
    with bridgeio.fail_after(None):
        assert_type(bridgeio.current_time(), float)


async def synchronising() -> None:
    lock = bridgeio.Lock()
    async with lock as nothing:
        assert_type(nothing, None)
    assert_type(lock.statistics().owner, bridgeio.TaskInfo | None)
    async with bridgeio.Condition(lock) as nothing:
        assert_type(nothing, None)
    assert_type(await bridgeio.Condition().wait_for(lambda: "value"), str)
    async with bridgeio.Semaphore(1, max_value=2) as semaphore:
        assert_type(semaphore, bridgeio.Semaphore)
        assert_type(semaphore.max_value, int | None)
    limiter = bridgeio.CapacityLimiter(1)
    limiter.total_tokens = inf
    await limiter.acquire_on_behalf_of("anything")
    assert_type(limiter.statistics().borrowers, tuple[object, ...])
    async with bridgeio.Barrier(2) as index:
        assert_type(index, int)
    with bridgeio.ResourceGuard("reading from"):
        pass


async def queueing() -> None:
    queue: bridgeio.Queue[bytes] = bridgeio.Queue(3)
    assert_type(bridgeio.Queue[int](), bridgeio.Queue[int])
    await queue.put("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await queue.get(), bytes)
    assert_type(queue.get_nowait(), bytes)
    async for item in queue:
        assert_type(item, bytes)
    assert_type(queue.statistics(), bridgeio.QueueStatistics)
    async for number in bridgeio.every(0.5):
        assert_type(number, int)


async def channelling() -> None:
    send, receive = bridgeio.create_memory_object_stream[int | None](5)
    assert_type(send, bridgeio.MemoryObjectSendStream[int | None])
    assert_type(receive, bridgeio.MemoryObjectReceiveStream[int | None])
    await send.send("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with receive.clone() as clone, send:
        assert_type(clone, bridgeio.MemoryObjectReceiveStream[int | None])
        assert_type(await clone.receive(), int | None)
        assert_type(clone.receive_nowait(), int | None)
        async for item in clone:
            assert_type(item, int | None)
    narrower: bridgeio.MemoryObjectSendStream[int] = send
    wider: bridgeio.MemoryObjectReceiveStream[object] = receive
    send = narrower  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    receive = wider  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    texts, read = bridgeio.create_memory_object_stream(item_type=str)
    assert_type(texts, bridgeio.MemoryObjectSendStream[str])
    assert_type(await read.receive(), str)
    assert_type(texts.statistics(), bridgeio.MemoryObjectStreamStatistics)


@asynccontextmanager
async def session(port: int) -> AsyncIterator[Reader]:
    reader, writer = await bridgeio.open_connection("localhost", port)
    async with writer:
        yield reader


async def lines(port: int) -> AsyncIterator[bytes]:
    async with session(port) as reader:
        async for line in reader:
            yield line


def looking() -> None:
    assert_type(bridgeio.dump_tasks(), str)
    bridgeio.dump_tasks(sys.stderr)
    me = bridgeio.get_current_task()
    assert_type(bridgeio.get_running_tasks(), list[bridgeio.TaskInfo])
    assert_type(me.parent_id, int | None)
    assert_type(me.has_pending_cancellation(), bool)
    variable = bridgeio.lowlevel.RunVar[int]("variable")
    assert_type(variable.get(), int)
    assert_type(variable.get("none"), int | str)
    counter = bridgeio.lowlevel.RunVar("counter", 0)
    counter.set(1)
    assert_type(counter.get(), int)
    with variable.set(1) as token:
        variable.reset(token)
    variable.set("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(bridgeio.lowlevel.current_token(), bridgeio.lowlevel.EventLoopToken)
    assert_type(bridgeio.lowlevel.notify_closing(3), None)


def synchronous() -> None:
    assert_type(bridgeio.blocking(add)(1, 2), int)
    bridgeio.blocking(add)(1, "2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with bridgeio.blocking(session)(1) as reader:
        assert_type(reader, Reader)
    for line in bridgeio.blocking(lines)(1):
        assert_type(line, bytes)


async def signals() -> None:
    with bridgeio.open_signal_receiver(SIGINT, SIGTERM) as received:
        async for number in received:
            assert_type(number, Signals)
    bridgeio.open_signal_receiver("SIGINT")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def files(mode: str) -> None:
    assert_type(await bridgeio.open_file("name"), AsyncFile[str])
    assert_type(await bridgeio.open_file("name", "wb"), AsyncFile[bytes])
    assert_type(await bridgeio.open_file("name", mode), AsyncFile[Any])
    async with await bridgeio.open_file("name", "r+b") as file:
        assert_type(await file.read(), bytes)
        assert_type(await file.write(bytearray(1)), int)
        assert_type(await file.readinto(bytearray(1)), int)
        await file.write("text")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
        async for line in file:
            assert_type(line, bytes)
    text = bridgeio.wrap_file(io.StringIO())
    assert_type(await text.readlines(), list[str])
    await text.read1()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def paths() -> None:
    path = Path("a") / "b"
    assert_type(path, Path)
    assert_type("a" / path, Path)
    assert_type(path.parent, Path)
    assert_type(await path.resolve(), Path)
    assert_type(await path.exists(), bool)
    assert_type(await path.read_text(), str)
    assert_type(await path.open("rb"), AsyncFile[bytes])
    assert_type(await Path.cwd(), Path)
    async for entry in path.glob("*"):
        assert_type(entry, Path)


async def temporary_files() -> None:
    async with bridgeio.TemporaryFile() as file:
        assert_type(file, AsyncFile[bytes])
    async with bridgeio.NamedTemporaryFile("w+") as text:
        assert_type(text, AsyncFile[str])
    async with bridgeio.SpooledTemporaryFile(10, "w") as spooled:
        await spooled.write("text")
    async with bridgeio.TemporaryDirectory() as name:
        assert_type(name, str)
    async with bridgeio.TemporaryDirectory(b"x") as encoded:
        assert_type(encoded, bytes)
    assert_type(await bridgeio.mkstemp(), tuple[int, str])
    assert_type(await bridgeio.mkdtemp(b"x"), bytes)


async def standard_streams() -> None:
    assert_type(await bridgeio.open_stdin(limit=10), Reader)
    assert_type(await bridgeio.open_stdout(), Writer)
    assert_type(await bridgeio.open_stderr(write_limit=10), Writer)
