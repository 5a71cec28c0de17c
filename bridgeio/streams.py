"""What carries bytes both ways, as a `Reader` and a `Writer`."""

from __future__ import annotations

import socket

from bridgeio.contract import Host
from bridgeio.ends import ByteEnds, ByteSink
from bridgeio.events import Event
from bridgeio.guarded import GuardedWriter
from bridgeio.limits import LIMIT, UNRESPONSIVE_AFTER, WRITE_LIMIT
from bridgeio.reader import Reader
from bridgeio.scopes import move_on_after
from bridgeio.sockets import is_unix
from bridgeio.writer import Writer

__all__ = ["end_fed", "flush_lingering", "stream_over", "tune", "writer_over"]


def stream_over(source: ByteEnds, limit: int = LIMIT, write_limit: int = WRITE_LIMIT) -> tuple[Reader, Writer]:
    reader = Reader(source, limit)
    return reader, writer_over(source, reader, write_limit)


def writer_over(sink: ByteSink, reader: Reader | None = None, write_limit: int = WRITE_LIMIT) -> Writer:
    """The writer that the sink's host needs."""
    kind = GuardedWriter if sink.host.guarded else Writer
    return kind(sink, reader, write_limit=write_limit)


def tune(sock: socket.socket) -> None:
    """Small messages leave at once, and a stuck peer does not make the kernel hoard megabytes."""
    if is_unix(sock):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _NOTSENT_LOWAT is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, 16 * 1024)


async def end_fed(host: Host) -> None:
    """The run is over: what it has wrapped, and nobody has closed, ends with it."""
    for source in list(host.fed):
        source.end()
    with move_on_after(UNRESPONSIVE_AFTER):  # somebody else's code may never say that it has
        while host.fed:
            gone = Event()
            next(iter(host.fed)).call_when_writable(gone.set)
            await gone.wait()


async def flush_lingering(host: Host) -> None:
    """Waits for every writer that was closed and still flushes; each ends within its linger."""
    while host.lingering:
        await next(iter(host.lingering)).wait_flushed()


_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
