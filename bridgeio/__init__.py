"""bridgeio: write a network protocol once, run it on asyncio, uvloop, Trio, Tornado, Twisted, gevent and threads.

async def echo_client(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()

bridgeio.run_server(echo_client, "localhost", 8888, backend="trio")
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError("bridgeio does not support Windows yet: it needs epoll or kqueue under every framework")

from bridgeio import errors
from bridgeio.channels import (
    MemoryObjectReceiveStream,
    MemoryObjectSendStream,
    MemoryObjectStreamStatistics,
    create_memory_object_stream,
)
from bridgeio.client import open_connection, open_unix_connection
from bridgeio.dumps import dump_tasks
from bridgeio.errors import (
    AdapterError,
    BackendBusyError,
    BackendNotFoundError,
    BackendNotInstalledError,
    BrokenBarrierError,
    BrokenResourceError,
    BrokenWorkerProcess,
    BusyError,
    ClosedResourceError,
    ConnectError,
    EndOfStream,
    IncompleteReadError,
    LimitOverrunError,
    NoBackendError,
    QueueEmpty,
    QueueFull,
    QueueShutDown,
    SharedBetweenRunsError,
    StreamClosedError,
    TruncatedStreamError,
    WouldBlock,
    WriteBufferFullError,
)
from bridgeio.events import Event, EventStatistics
from bridgeio.groups import TASK_STATUS_IGNORED, TaskGroup, TaskStatus, create_task_group
from bridgeio.introspection import get_current_task, get_running_tasks
from bridgeio.locks import Condition, ConditionStatistics, Lock, LockStatistics
from bridgeio.queues import Queue, QueueStatistics
from bridgeio.reader import Reader
from bridgeio.registry import available_backends, current_backend, known_backends
from bridgeio.running import run, run_server
from bridgeio.scopes import (
    CancelScope,
    current_effective_deadline,
    current_time,
    fail_after,
    fail_at,
    get_cancelled_exc_class,
    move_on_after,
    move_on_at,
    sleep,
    sleep_forever,
    sleep_until,
)
from bridgeio.semaphores import CapacityLimiter, CapacityLimiterStatistics, Semaphore, SemaphoreStatistics
from bridgeio.server import DrainReport, Server, current_server, serve, serve_task, serve_unix
from bridgeio.tasks import TaskInfo
from bridgeio.writer import Writer

if TYPE_CHECKING:  # what is loaded when it is used first; the same names stand below, for the interpreter
    from bridgeio import from_thread, lowlevel, to_process, to_thread
    from bridgeio.accepted import serve_stream
    from bridgeio.barriers import Barrier, BarrierStatistics
    from bridgeio.datagrams import DatagramStatistics
    from bridgeio.facade import blocking
    from bridgeio.files import AsyncFile, open_file, wrap_file
    from bridgeio.guards import ResourceGuard
    from bridgeio.names import getaddrinfo, getnameinfo
    from bridgeio.paths import Path
    from bridgeio.processes import Process, open_process, run_process
    from bridgeio.receivers import open_signal_receiver
    from bridgeio.standard import open_stderr, open_stdin, open_stdout
    from bridgeio.tempfiles import (
        NamedTemporaryFile,
        SpooledTemporaryFile,
        TemporaryDirectory,
        TemporaryFile,
        gettempdir,
        gettempdirb,
        mkdtemp,
        mkstemp,
    )
    from bridgeio.ticks import every
    from bridgeio.udp import ConnectedUDPSocket, UDPSocket, create_connected_udp_socket, create_udp_socket
    from bridgeio.unix_datagrams import (
        ConnectedUNIXDatagramSocket,
        UNIXDatagramSocket,
        create_connected_unix_datagram_socket,
        create_unix_datagram_socket,
    )
    from bridgeio.wrapping import wrap

__version__ = "0.1.0"

__all__ = [
    "TASK_STATUS_IGNORED",
    "AdapterError",
    "AsyncFile",
    "BackendBusyError",
    "BackendNotFoundError",
    "BackendNotInstalledError",
    "Barrier",
    "BarrierStatistics",
    "BrokenBarrierError",
    "BrokenResourceError",
    "BrokenWorkerProcess",
    "BusyError",
    "CancelScope",
    "CapacityLimiter",
    "CapacityLimiterStatistics",
    "ClosedResourceError",
    "Condition",
    "ConditionStatistics",
    "ConnectError",
    "ConnectedUDPSocket",
    "ConnectedUNIXDatagramSocket",
    "DatagramStatistics",
    "DrainReport",
    "EndOfStream",
    "Event",
    "EventStatistics",
    "IncompleteReadError",
    "LimitOverrunError",
    "Lock",
    "LockStatistics",
    "MemoryObjectReceiveStream",
    "MemoryObjectSendStream",
    "MemoryObjectStreamStatistics",
    "NamedTemporaryFile",
    "NoBackendError",
    "Path",
    "Process",
    "Queue",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "QueueStatistics",
    "Reader",
    "ResourceGuard",
    "Semaphore",
    "SemaphoreStatistics",
    "Server",
    "SharedBetweenRunsError",
    "SpooledTemporaryFile",
    "StreamClosedError",
    "TaskGroup",
    "TaskInfo",
    "TaskStatus",
    "TemporaryDirectory",
    "TemporaryFile",
    "TruncatedStreamError",
    "UDPSocket",
    "UNIXDatagramSocket",
    "WouldBlock",
    "WriteBufferFullError",
    "Writer",
    "__version__",
    "available_backends",
    "blocking",
    "create_connected_udp_socket",
    "create_connected_unix_datagram_socket",
    "create_memory_object_stream",
    "create_task_group",
    "create_udp_socket",
    "create_unix_datagram_socket",
    "current_backend",
    "current_effective_deadline",
    "current_server",
    "current_time",
    "dump_tasks",
    "errors",
    "every",
    "fail_after",
    "fail_at",
    "from_thread",
    "get_cancelled_exc_class",
    "get_current_task",
    "get_running_tasks",
    "getaddrinfo",
    "getnameinfo",
    "gettempdir",
    "gettempdirb",
    "known_backends",
    "lowlevel",
    "mkdtemp",
    "mkstemp",
    "move_on_after",
    "move_on_at",
    "open_connection",
    "open_file",
    "open_process",
    "open_signal_receiver",
    "open_stderr",
    "open_stdin",
    "open_stdout",
    "open_unix_connection",
    "run",
    "run_process",
    "run_server",
    "serve",
    "serve_stream",
    "serve_task",
    "serve_unix",
    "sleep",
    "sleep_forever",
    "sleep_until",
    "to_process",
    "to_thread",
    "wrap",
    "wrap_file",
]

# A program pays for what it uses: streams, servers and tasks come with the import, and all else when it is asked for.
_LATE_MODULES = ("from_thread", "lowlevel", "to_process", "to_thread")
_LATE = {
    "accepted": ("serve_stream",),
    "barriers": ("Barrier", "BarrierStatistics"),
    "datagrams": ("DatagramStatistics",),
    "facade": ("blocking",),
    "files": ("AsyncFile", "open_file", "wrap_file"),
    "guards": ("ResourceGuard",),
    "names": ("getaddrinfo", "getnameinfo"),
    "paths": ("Path",),
    "processes": ("Process", "open_process", "run_process"),
    "receivers": ("open_signal_receiver",),
    "standard": ("open_stderr", "open_stdin", "open_stdout"),
    "tempfiles": (
        "NamedTemporaryFile",
        "SpooledTemporaryFile",
        "TemporaryDirectory",
        "TemporaryFile",
        "gettempdir",
        "gettempdirb",
        "mkdtemp",
        "mkstemp",
    ),
    "ticks": ("every",),
    "udp": ("ConnectedUDPSocket", "UDPSocket", "create_connected_udp_socket", "create_udp_socket"),
    "unix_datagrams": (
        "ConnectedUNIXDatagramSocket",
        "UNIXDatagramSocket",
        "create_connected_unix_datagram_socket",
        "create_unix_datagram_socket",
    ),
    "wrapping": ("wrap",),
}
_ROOMS = {name: room for room, names in _LATE.items() for name in names}


def _load(name: str) -> Any:
    """Asked by the interpreter for what is not there yet (PEP 562)."""
    if name in _LATE_MODULES:
        return import_module(f"bridgeio.{name}")
    if name in _ROOMS:
        thing = globals()[name] = getattr(import_module(f"bridgeio.{_ROOMS[name]}"), name)
        return thing
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take every name for one of ours
    __getattr__ = _load
