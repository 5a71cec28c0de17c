"""Serving: supervised handlers, a limit that pauses accepting, and a drain with a report."""

from __future__ import annotations

import contextvars
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bridgeio.checkpoints import begin
from bridgeio.closing import Closing
from bridgeio.contract import Host
from bridgeio.errors import show_address
from bridgeio.events import Event
from bridgeio.groups import TASK_STATUS_IGNORED, TaskGroup, TaskStatus, create_task_group, name_of
from bridgeio.handlers import Handler, OnError, ServeOptions, logger
from bridgeio.limits import GRACE, HANDSHAKE_TIMEOUT, LIMIT, UNRESPONSIVE_AFTER, WRITE_LIMIT, check_count
from bridgeio.listeners import BACKLOG, QUEUED, Listener, bind_all, bind_unix, check_backlog, take_over
from bridgeio.reader import Reader
from bridgeio.records import Record
from bridgeio.resolver import Resolver, check_resolver, resolve
from bridgeio.scopes import CancelScope, current_time, move_on_after, sleep
from bridgeio.sockets import SocketSource
from bridgeio.streams import stream_over, tune
from bridgeio.waiters import Line
from bridgeio.writer import Writer

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["DrainReport", "Handler", "Server", "Serving", "current_server", "serve", "serve_task", "serve_unix"]

Bind = Callable[[], Coroutine[Any, Any, Sequence[tuple[socket.socket, str | None]]]]

_CONNECTION: contextvars.ContextVar[_Connection | None] = contextvars.ContextVar("bridgeio_connection", default=None)
_OUT_OF_DESCRIPTORS_PAUSE = 0.1  # seconds; long enough that a connection may have ended


def current_server() -> Server:
    """The server whose handler is calling.

    :raises RuntimeError: outside a handler.
    """
    connection = _CONNECTION.get()
    if connection is None:
        raise RuntimeError("current_server() is for handlers: no server has started this task")
    return connection.server


class DrainReport(Record):
    """What became of the connections that were open when a server was told to close.

    :ivar finished: handlers that ended by themselves, within the grace.
    :ivar cancelled: handlers that ended when they were cancelled, by the server or by a scope around it.
    :ivar failed: handlers that raised while draining.
    :ivar unresponsive: handlers that ignored their cancellation; their sockets were shut.
    :ivar seconds: how long it took.
    """

    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    unresponsive: int = 0
    seconds: float = 0.0


class _Connection:
    __slots__ = ("failed", "finished", "name", "scope", "server", "source", "writer")

    def __init__(self, server: Server, source: SocketSource, writer: Writer, name: str) -> None:
        self.server = server
        self.source = source
        self.writer = writer
        self.name = name
        self.scope = CancelScope()
        self.finished = False
        self.failed = False


class Server:
    """A running server, as `serve` hands it out.

    :ivar addresses: where it listens, as `socket.getsockname` tells it.
    :ivar closing: an `Event`, set when the server begins to close; see also `move_on_when_closing`.
    """

    def __init__(self, host: Host, listeners: list[Listener], options: ServeOptions, group: TaskGroup) -> None:
        self.addresses: tuple[Any, ...] = tuple(listener.address for listener in listeners)
        self.closing = Event()
        self._host = host
        self._listeners = listeners
        self._options = options
        self._group = group
        self._accepting = [CancelScope() for _ in listeners]
        self._connections: set[_Connection] = set()
        self._ended: Line[None] = Line("a connection to end")
        self._name_of_handler = name_of(options.handler)
        self._closed = Event()
        self._ends = Closing()
        self._report: DrainReport | None = None
        self._counted: set[_Connection] = set()  # of which the report tells
        self._drain_over: Event | None = None  # while a task is at it
        self._patience: CancelScope | None = None
        for listener, scope in zip(listeners, self._accepting, strict=True):
            group.start_soon(self._accept, listener, scope, name=f"accept on {show_address(listener.address)}")

    @property
    def port(self) -> int:
        """The TCP port; one for all addresses.

        :raises RuntimeError: for a server on a UNIX socket.
        """
        for address in self.addresses:
            if isinstance(address, tuple):
                return int(address[1])
        raise RuntimeError(f"a server on {show_address(self.addresses[0])} has no port")

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def serve_forever(self) -> None:
        """Waits until the server is closed; a cancel ends the wait, not the server."""
        await self._closed.wait()

    def move_on_when_closing(self, delay: float = 0.0) -> CancelScope:
        """A scope that ends its block quietly, ``delay`` seconds after the server has begun to close.

        For what a handler should not wait for any longer then, such as its client's next request. The
        cancellation of a handler that outstays the ``grace`` is another, and is not absorbed.
        """
        return self._ends.scope(delay)

    async def close(self, grace: float | None = None) -> DrainReport:
        """Drains: accepts what the kernel has queued, stops accepting, sets ``closing``, waits at
        most ``grace`` seconds for the handlers, cancels the rest, and shuts the sockets of those
        that ignore it. Returns within five seconds of the cancel.

        Called again, or by another task, it returns the first call's report; a shorter ``grace``
        then counts. A handler that calls it is not waited for. A cancel gives up the wait; the
        server goes on closing when somebody else is closing it, too, or its block is left.
        """
        await begin()
        if self._patience is not None and grace is not None:
            self._patience.deadline = min(self._patience.deadline, current_time() + grace)
        while self._report is None:
            if self._drain_over is None:
                await self._close(self._options.grace if grace is None else grace)
            else:
                await self._drain_over.wait()  # it may be given up: then it is this task's
        return self._report

    async def _close(self, grace: float) -> None:
        self._stop_accepting()
        self.closing.set()
        self._ends.begin(self._host.now())
        self._counted = self._connections - {_CONNECTION.get()}
        self._drain_over = over = Event()
        try:
            self._report = await self._drain(self._counted, grace)
            self._closed.set()
        finally:
            self._drain_over = None
            over.set()

    async def close_rest(self) -> None:
        """Ends the handlers that were not waited for because they called `close`, and have stayed."""
        rest = self._connections - self._counted
        if rest:
            await self._drain(rest, self._options.grace)

    async def _drain(self, draining: set[_Connection], grace: float) -> DrainReport:
        start = current_time()
        with move_on_after(grace) as self._patience:
            await self._wait_for(draining)
        self._patience = None
        late = draining & self._connections
        deaf = await self._cancel(late)
        failed = {connection for connection in draining - deaf if connection.failed}
        finished = {connection for connection in draining - late - failed if connection.finished}
        return DrainReport(
            finished=len(finished),
            cancelled=len(draining - finished - failed - deaf),
            failed=len(failed),
            unresponsive=len(deaf),
            seconds=current_time() - start,
        )

    async def _cancel(self, late: set[_Connection]) -> set[_Connection]:
        """Cancels handlers; those that ignored it, by the time their sockets are shut."""
        for connection in late:
            connection.scope.cancel("the server is closing")
        with move_on_after(UNRESPONSIVE_AFTER, shield=True):
            await self._wait_for(late)
        deaf = late & self._connections
        for connection in deaf:
            logger().error("handler %s ignores its cancellation; its socket is shut", connection.name)
            connection.writer.abort()
        with move_on_after(UNRESPONSIVE_AFTER / 8, shield=True):
            await self._wait_for(deaf)
        return deaf

    async def _wait_for(self, connections: set[_Connection]) -> None:
        while not connections.isdisjoint(self._connections):
            await self._ended.join(await begin(), None)

    def _stop_accepting(self) -> None:
        """Takes what stands in the kernel's queues by now: a flood must not keep the server open."""
        for listener, scope in zip(self._listeners, self._accepting, strict=True):
            listener.turn_away()
            with suppress(OSError):
                for _ in range(QUEUED):
                    if listener.fd < 0 or self._is_full() or (accepted := listener.accept_now()) is None:
                        break
                    self._start(*accepted)
            scope.cancel("the server is closing")
            listener.close()

    async def _accept(self, listener: Listener, scope: CancelScope) -> None:
        with scope:
            try:
                await self._accept_all(listener)
            finally:
                listener.pause()  # a connection that nobody takes would have the poller called all the time

    async def _accept_all(self, listener: Listener) -> None:
        task = await begin()  # cancelled also before the first accept: the listener may be closed by then
        while True:
            try:
                if self._is_full():
                    listener.pause()
                    await self._ended.join(task, None)
                elif (accepted := listener.accept_now()) is None:
                    await listener.wait(task)
                else:
                    self._start(*accepted)
            except OSError as error:  # out of descriptors or memory: some connection must end first
                logger().error("cannot accept on %s, trying again: %s", show_address(listener.address), error)
                listener.pause()
                await sleep(_OUT_OF_DESCRIPTORS_PAUSE)
            task.budget -= 1  # as in `spend` and `begin`: two coroutines more for each connection would show
            if task.budget <= 0:
                await task.give_way()
            if task.scope.cancelled or task.kept:
                await task.checkpoint_if_cancelled()

    def _is_full(self) -> bool:
        most = self._options.max_connections
        return most is not None and len(self._connections) >= most

    def _start(self, sock: socket.socket, address: Any) -> None:
        peer = address or self.addresses[0]  # a UNIX client has no name of its own
        try:
            tune(sock)
            source = SocketSource(self._host, sock, peer)
        except OSError:  # the peer is gone already
            sock.close()
            return
        reader, writer = stream_over(source, self._options.limit, self._options.write_limit)
        name = f"{self._name_of_handler} for {show_address(peer)}"
        connection = _Connection(self, source, writer, name)
        self._connections.add(connection)
        try:
            self._group.start_soon(self._handle, connection, reader, name=name)
        except (RuntimeError, OSError) as error:  # the system refuses a thread, where a task is one
            logger().error("connection from %s is refused, no task can be started: %s", show_address(peer), error)
            self._connections.discard(connection)
            writer.abort()

    async def _handle(self, connection: _Connection, reader: Reader) -> None:
        writer = connection.writer
        _CONNECTION.set(connection)
        try:
            with connection.scope:
                if self._options.ssl is not None:
                    await self._options.secure(writer)
                await self._options.handler(reader, writer)
                writer.close()
                await writer.wait_closed()
                connection.finished = True
        except Exception as error:
            connection.failed = True
            self._options.report(error, connection.source.peer)
        finally:
            writer.close()
            self._connections.discard(connection)
            self._ended.grant_all()


class Serving:
    """What `serve` and `serve_unix` return: ``async with`` it to have the `Server`.

    Leaving the block drains the server, and waits for every handler.
    """

    def __init__(self, options: ServeOptions, bind: Bind, *, shared: bool = False) -> None:
        self._options = options
        self._bind = bind
        self._shared = shared  # with other processes, perhaps
        self._group = create_task_group()
        self._server: Server | None = None

    if not TYPE_CHECKING:  # which find out by themselves

        def __await__(self):
            """As asyncio's ``start_server`` is used."""
            raise TypeError("serve() is not awaited: write `async with serve(...) as server:`, or start serve_task()")

    async def __aenter__(self) -> Server:
        host = (await begin()).host
        sockets = await self._bind()
        try:
            await self._group.__aenter__()
            listeners = [Listener(host, sock, unlink=path, shared=self._shared) for sock, path in sockets]
        except BaseException:
            for sock, _ in sockets:
                sock.close()
            raise
        self._server = Server(host, listeners, self._options, self._group)
        return self._server

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """An ordinary error comes out as it is; only a cancellation goes through the group."""
        assert self._server is not None
        with CancelScope(shield=True):
            await self._server.close()
            await self._server.close_rest()
        if isinstance(error, Exception):
            await self._group.__aexit__(None, None, None)
            return False
        return await self._group.__aexit__(kind, error, trace)


def serve(
    handler: Handler,
    host: str | None = None,
    port: int = 0,
    *,
    ssl: SSLContext | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    standard_compatible: bool = True,
    limit: int = LIMIT,
    backlog: int = BACKLOG,
    max_connections: int | None = None,
    reuse_port: bool = False,
    sock: socket.socket | None = None,
    grace: float = GRACE,
    on_error: OnError | None = None,
    write_limit: int = WRITE_LIMIT,
    resolver: Resolver | None = None,
) -> Serving:
    """Serves TCP connections: ``async with serve(handler, host, port) as server:``.

    :param handler: an async function; called with a `Reader` and a `Writer` for each connection, in
        a task of its own. The connection is closed when it returns.
    :param host: a name or an address; all that it resolves to are listened on. ``None`` is every
        address of this machine, IPv4 and IPv6.
    :param port: 0 lets the system choose one, the same for all addresses.
    :param ssl: the `ssl.SSLContext` with the server's certificate, to speak TLS by. The handshake is part of
        a connection's own task; one that fails ends that connection, and is reported as a handler's error.
    :param handshake_timeout: seconds for it; see `Writer.start_tls`, also for ``standard_compatible``.
    :param limit: bytes that ``readuntil`` may buffer.
    :param backlog: connections that the kernel may queue.
    :param max_connections: beyond that many, connections wait in the kernel's queue.
    :param reuse_port: lets several processes listen on one port (SO_REUSEPORT).
    :param sock: a bound socket to listen on, instead of host and port. It is taken over: the object
        given is detached, and the socket is closed with the server.
    :param grace: seconds that leaving the block waits for handlers before it cancels them.
    :param on_error: called with a handler's exception and the peer's address. Default: the logger
        ``bridgeio.server``.
    :param write_limit: bytes that may wait to be sent on one connection.
    :param resolver: asked instead of the name service.
    :raises OSError: on entering, if an address cannot be listened on.
    """
    options = ServeOptions(
        handler=handler,
        limit=limit,
        write_limit=write_limit,
        max_connections=max_connections,
        grace=grace,
        on_error=on_error,
        ssl=ssl,
        handshake_timeout=handshake_timeout,
        standard_compatible=standard_compatible,
    )
    check_backlog(backlog)
    check_resolver(resolver)

    async def bind() -> list[tuple[socket.socket, None]]:
        if sock is not None:
            return [(take_over(sock, backlog), None)]
        addresses = await resolve(host, port, flags=socket.AI_PASSIVE, resolver=resolver)
        return [(bound, None) for bound in bind_all(addresses, port, backlog, reuse_port)]

    if sock is not None and (host is not None or port):
        raise ValueError("serve() takes either sock or host and port, not both")
    return Serving(options, bind, shared=sock is not None)


def serve_unix(
    handler: Handler,
    path: str | os.PathLike[str],
    *,
    mode: int | None = None,
    ssl: SSLContext | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    standard_compatible: bool = True,
    limit: int = LIMIT,
    backlog: int = BACKLOG,
    max_connections: int | None = None,
    grace: float = GRACE,
    on_error: OnError | None = None,
    write_limit: int = WRITE_LIMIT,
) -> Serving:
    """Serves connections on a UNIX socket; parameters as for `serve`.

    A socket file that nobody listens on any more is replaced; ours is removed at the end.

    :param mode: permissions of the socket file, such as ``0o600``; in force before anybody can connect.
    :raises OSError: on entering, if the path cannot be listened on.
    """
    options = ServeOptions(
        handler=handler,
        limit=limit,
        write_limit=write_limit,
        max_connections=max_connections,
        grace=grace,
        on_error=on_error,
        ssl=ssl,
        handshake_timeout=handshake_timeout,
        standard_compatible=standard_compatible,
    )
    check_backlog(backlog)
    if mode is not None:
        check_count("mode", mode, least=0, most=0o7777)
    name = os.fspath(path)

    async def bind() -> list[tuple[socket.socket, str | None]]:
        return [(bind_unix(name, mode, backlog), None if name.startswith("\0") else name)]

    return Serving(options, bind)


async def serve_task(
    handler: Handler,
    host: str | None = None,
    port: int = 0,
    *,
    task_status: TaskStatus[Server] = TASK_STATUS_IGNORED,
    **options: Any,
) -> None:
    """`serve` as a task: ``server = await group.start(serve_task, handler, host, port)``.

    Ends when the server is closed; a cancel drains it. Options as for `serve`.
    """
    async with serve(handler, host, port, **options) as server:
        task_status.started(server)
        await server.serve_forever()
