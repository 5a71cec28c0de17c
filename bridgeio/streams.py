"""A connected socket as a `Reader` and a `Writer`, and an end of a pipe as one of them."""

from __future__ import annotations

import socket

from bridgeio.contract import Host
from bridgeio.guarded import GuardedWriter
from bridgeio.limits import LIMIT, WRITE_LIMIT
from bridgeio.pipes import PipeSource
from bridgeio.reader import Reader
from bridgeio.sockets import SocketSource
from bridgeio.writer import Writer

__all__ = ["flush_lingering", "pipe_reader", "pipe_writer", "stream_over", "tune"]


def stream_over(source: SocketSource, limit: int = LIMIT, write_limit: int = WRITE_LIMIT) -> tuple[Reader, Writer]:
    kind = GuardedWriter if source.host.guarded else Writer
    reader = Reader(source, limit)
    return reader, kind(source, reader, write_limit=write_limit)


def pipe_reader(host: Host, fd: int, name: object = None, limit: int = LIMIT) -> Reader:
    """Reads from a pipe or pty; the descriptor is closed at the end of the run at the latest.

    :param name: whose end it is, for messages.
    """
    return Reader(PipeSource(host, fd, name), limit)


def pipe_writer(host: Host, fd: int, name: object = None, write_limit: int = WRITE_LIMIT) -> Writer:
    """Writes to a pipe or pty; the descriptor is closed at the end of the run at the latest."""
    kind = GuardedWriter if host.guarded else Writer
    return kind(PipeSource(host, fd, name, writing=True), write_limit=write_limit)


def tune(sock: socket.socket) -> None:
    """Small messages leave at once, and a stuck peer does not make the kernel hoard megabytes."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if _NOTSENT_LOWAT is not None:
        sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, 16 * 1024)


async def flush_lingering(host: Host) -> None:
    """Waits for every writer that was closed and still flushes; each ends within its linger."""
    while host.lingering:
        await next(iter(host.lingering)).wait_flushed()


_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
