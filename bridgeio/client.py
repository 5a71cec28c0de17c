"""Connecting: to the fastest of a host's addresses (RFC 8305), or to a UNIX socket."""

from __future__ import annotations

import errno
import os
import socket
from itertools import zip_longest
from math import inf
from typing import TYPE_CHECKING, Any

from bridgeio.checkpoints import begin
from bridgeio.contract import AddressInfo, Task
from bridgeio.errors import ConnectError, describe, show_address
from bridgeio.limits import HANDSHAKE_TIMEOUT, HAPPY_EYEBALLS_DELAY, LIMIT, check_seconds, check_size
from bridgeio.poller import WRITE
from bridgeio.reader import Reader
from bridgeio.resolver import Resolver, check_resolver, resolve
from bridgeio.scopes import sleep
from bridgeio.sockets import SocketSource, connect_error, new_socket
from bridgeio.streams import stream_over, tune
from bridgeio.writer import Writer

if TYPE_CHECKING:
    from ssl import SSLContext, SSLSession

__all__ = ["open_connection", "open_unix_connection"]

_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR)


async def open_connection(
    host: str,
    port: int,
    *,
    ssl: SSLContext | bool | None = None,
    server_hostname: str | None = None,
    session: SSLSession | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    standard_compatible: bool = True,
    limit: int = LIMIT,
    local_addr: tuple[str, int] | None = None,
    happy_eyeballs_delay: float = HAPPY_EYEBALLS_DELAY,
    resolver: Resolver | None = None,
) -> tuple[Reader, Writer]:
    """A TCP connection to the first address of the host that answers.

    The next address is tried ``happy_eyeballs_delay`` seconds after the one before, or as soon as
    that one has failed, families in turn (RFC 8305). A deadline is the caller's: `fail_after`. A
    cancel leaves nothing open.

    :param host: a name or an address; an address is not sent to the name service.
    :param ssl: the `ssl.SSLContext` to speak TLS by; ``True`` for what `ssl.create_default_context` makes.
    :param server_hostname: the name in the server's certificate, if it is not ``host``.
    :param session: see `Writer.start_tls`, also for ``handshake_timeout`` and ``standard_compatible``.
    :param limit: bytes that ``readuntil`` may buffer.
    :param local_addr: host and port to connect from; addresses of other families are not tried then.
    :param happy_eyeballs_delay: seconds (RFC 8305 recommends 0.25).
    :param resolver: asked instead of the name service: an async function of host, port, family and
        flags that returns what `socket.getaddrinfo` does.
    :raises socket.gaierror: if the name does not resolve.
    :raises ValueError: for a port above 65535 or below 0; and as `Writer.start_tls`.
    :raises ConnectError: if no address answers, with each one's error in ``.errors``.
    :raises ssl.SSLError: if the server that has answered cannot be trusted, or does not speak TLS.
    """
    name = _certificate_name(host) if ssl and server_hostname is None else server_hostname
    context = _checked(ssl, name, session, handshake_timeout)
    _check_route(local_addr, happy_eyeballs_delay, resolver)
    check_size("limit", limit)
    task = await begin()
    addresses = interleave(await resolve(host, port, resolver=resolver))
    local = [] if local_addr is None else await resolve(*local_addr, resolver=resolver)
    race = _Race(task, addresses, local, happy_eyeballs_delay)
    source = await race.run()
    if source is None:
        raise _nobody_answered(f"{host}:{port}", race.errors)
    return await _secured(
        stream_over(source, limit),
        context,
        server_hostname=name,
        session=session,
        handshake_timeout=handshake_timeout,
        standard_compatible=standard_compatible,
    )


async def open_unix_connection(
    path: str | bytes | os.PathLike[Any],
    *,
    ssl: SSLContext | bool | None = None,
    server_hostname: str | None = None,
    session: SSLSession | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    standard_compatible: bool = True,
    limit: int = LIMIT,
) -> tuple[Reader, Writer]:
    """A connection to a UNIX stream socket.

    Waits while the server's queue is full, as a TCP connect does. A cancel leaves nothing open.

    :param ssl: as for `open_connection`; whose certificate it must be, ``server_hostname`` says.
    :param limit: bytes that ``readuntil`` may buffer.
    :raises OSError: `FileNotFoundError`, `ConnectionRefusedError` and others, as ``connect`` does.
    """
    context = _checked(ssl, server_hostname, session, handshake_timeout)
    check_size("limit", limit)
    task = await begin()
    address = os.fspath(path)
    return await _secured(
        stream_over(await _connected_unix(task, address), limit),
        context,
        server_hostname=server_hostname,
        session=session,
        handshake_timeout=handshake_timeout,
        standard_compatible=standard_compatible,
    )


async def _connected_unix(task: Task, address: str | bytes) -> SocketSource:
    sock = new_socket(socket.AF_UNIX)
    try:
        pause = 0.001
        while (code := _connect(sock, address)) in _IN_PROGRESS:  # the kernel's "try again": no event will come
            await sleep(pause)
            pause = min(pause * 2, 0.1)
        if code:
            error = OSError(code, os.strerror(code))
            raise describe(error, "connect to", address) from error
        return SocketSource(task.host, sock, address)
    except BaseException:
        sock.close()
        raise


def _certificate_name(host: object) -> str:
    """As certificates, and SNI (RFC 6066), have it: without the root's dot, or the scope of an address."""
    return str(host).partition("%")[0].removesuffix(".")


def _checked(given: SSLContext | bool | None, name: str | None, session: object, patience: object) -> SSLContext | None:
    """The context to speak TLS by, if that was asked for. Called before anything is connected.

    :raises ValueError: for a name without TLS, which would verify nothing, or a session; and as `Writer.start_tls`.
    """
    check_seconds("handshake_timeout", patience, positive=True)
    if not given:
        if name is not None:
            raise ValueError("server_hostname= is verified by TLS only: give ssl=, too")
        if session is not None:
            raise ValueError("session= is resumed by TLS only: give ssl=, too")
        return None
    from bridgeio.tls import check_arguments, default_context

    context: Any = default_context() if given is True else given
    check_arguments(context, False, name, patience, session)
    return context  # type: ignore[no-any-return]


def _check_route(local_addr: object, delay: object, resolver: object) -> None:
    """Also where they are of no use: a numeric host asks no resolver, and a single address has no rival."""
    if local_addr is not None and not (isinstance(local_addr, tuple | list) and len(local_addr) == 2):
        raise TypeError(f"local_addr is a pair of host and port, not {local_addr!r}")
    check_seconds("happy_eyeballs_delay", delay)
    check_resolver(resolver)


async def _secured(stream: tuple[Reader, Writer], context: SSLContext | None, **options: Any) -> tuple[Reader, Writer]:
    """The stream, under TLS if that was asked for; closed, if it does not come about."""
    if context is not None:
        _, writer = stream
        try:
            await writer.start_tls(context, **options)
        except BaseException:
            if not writer.is_closing():  # a failed handshake closes it, and may have to tell the peer why
                writer.abort()
            raise
    return stream


def _connect(sock: socket.socket, address: Any) -> int:
    try:
        return sock.connect_ex(address)
    except OSError as error:  # Python's own, for a path that is too long: it knows no number for that
        raise describe(error, "connect to", address) from error


def interleave(addresses: list[AddressInfo]) -> list[AddressInfo]:
    """The families in turn, beginning with the one that the resolver put first."""
    families: dict[int, list[AddressInfo]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    rows = zip_longest(*families.values())
    return [address for row in rows for address in row if address is not None]


class _Race:
    """Several connection attempts of one task; sockets need no tasks of their own to connect."""

    def __init__(self, task: Task, addresses: list[AddressInfo], local: list[AddressInfo], delay: float) -> None:
        self.errors: list[tuple[object, OSError]] = []
        self._task = task
        self._addresses = addresses
        self._local = local
        self._delay = delay
        self._connecting: list[SocketSource] = []
        self._newest: SocketSource | None = None

    async def run(self) -> SocketSource | None:
        winner: SocketSource | None = None
        try:
            for left, address in enumerate(self._addresses, 1 - len(self._addresses)):
                self._start(address)
                until = self._task.host.now() + self._delay if left else inf
                winner = await self._wait(until)
                if winner is not None:
                    return winner
            return None
        finally:
            for source in self._connecting:
                if source is not winner:
                    source.close()

    def _start(self, info: AddressInfo) -> None:
        family, kind, proto, _, address = info
        sock = self._newest = None
        try:
            sock = new_socket(family, kind, proto)
            self._bind(sock)
            tune(sock)
            code = sock.connect_ex(address)
            if code and code not in _IN_PROGRESS:
                raise OSError(code, os.strerror(code))
            self._newest = SocketSource(self._task.host, sock, address)
            self._connecting.append(self._newest)
        except OSError as error:
            self._failed(address, error)
            if sock is not None:
                sock.close()

    def _bind(self, sock: socket.socket) -> None:
        if not self._local:
            return
        for family, _, _, _, address in self._local:
            if family == sock.family:
                sock.bind(address)
                return
        raise OSError(errno.EADDRNOTAVAIL, "local_addr has no address of this family")

    async def _wait(self, until: float) -> SocketSource | None:
        """Until one has won, or the time is over. If others are left to try, until the newest has
        failed, else until all have."""
        host = self._task.host
        while self._connecting and (until == inf or (self._newest in self._connecting and until > host.now())):
            if self._task.scope.cancelled:  # since it was woken: no second wake-up will come
                await self._task.checkpoint_if_cancelled()
            timer = host.timers.add(until, self._task.wake) if until != inf else None
            try:
                await self._park()
            finally:
                if timer is not None:
                    timer.cancel()
            winner = self._first_connected()
            if winner is not None:
                return winner
        return None

    async def _park(self) -> None:
        for source in self._connecting:
            source.writer = self._task
            if source.poller.arms_each_wait:
                source.poller.arm(source, self._task, WRITE)
        await self._task.park(self._abort)

    def doing(self, abort: object) -> str:
        return "connecting to " + ", ".join(show_address(source.peer) for source in list(self._connecting))

    def _abort(self) -> bool:
        for source in self._connecting:
            source.writer = None
        return True

    def _first_connected(self) -> SocketSource | None:
        """Those without a waiting task had their event: connected, or failed."""
        ended = [source for source in self._connecting if source.writer is None]
        self._abort()
        for source in ended:
            error = connect_error(source.sock)
            if error is None:
                return source
            self._connecting.remove(source)
            self._failed(source.peer, error)
            source.close()
        return None

    def _failed(self, address: object, error: OSError) -> None:
        self.errors.append((address, describe(error, "connect to", address)))


def _nobody_answered(target: str, errors: list[tuple[object, OSError]]) -> ConnectError:
    tried = "; ".join(str(error.strerror) for _, error in errors)
    failure = ConnectError(f"could not connect to {target}: {tried or 'it has no address'}", errors)
    failure.__cause__ = errors[-1][1] if errors else None
    return failure
