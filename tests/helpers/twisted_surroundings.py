"""What surrounds coroutines that run as Deferreds, and their streams; see `twisted_promises`."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import sys
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest
import sniffio
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IResolverSimple
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer  # type: ignore[import-untyped]

import bridgeio
from bridgeio.errors import BackendBusyError, NoBackendError
from bridgeio.registry import current_task, surrounding_backend
from bridgeio.testing.resources import open_descriptors
from bridgeio_twisted import as_deferred
from echoing import ask, echo
from twisted_promises import promise, raises, turn

# Detection


@promise
async def under_twisteds_own_drivers_the_error_says_what_to_do(reactor: Any) -> None:
    """In fromCoroutine and inlineCallbacks bridgeio raises NoBackendError and names ``as_deferred``."""

    @inlineCallbacks
    def old_style() -> Generator[Any, Any, None]:
        yield from bridgeio.sleep(0).__await__()

    for deferred in (Deferred.fromCoroutine(bridgeio.sleep(0)), old_style()):
        assert "as_deferred" in await raises(NoBackendError, deferred)


@promise
async def so_it_does_inside_a_step_of_ours(reactor: Any) -> None:
    """Started by a task of ours they run in that task's step and context; they are found out by their first wait."""

    async def work() -> None:
        event = bridgeio.Event()
        for wait in (bridgeio.sleep(3600), bridgeio.sleep(0), event.wait()):
            assert "as_deferred" in await raises(NoBackendError, Deferred.fromCoroutine(wait))
        event.set()  # it must not wake anybody
        task = current_task()
        assert task.abort is None
        await bridgeio.sleep(0.001)

    await as_deferred(work())


@promise
async def a_plain_callback_cannot_wait(reactor: Any) -> None:
    """A callback is inside Twisted, also on asyncio's reactor, and in no task; blocking there is refused."""

    def callback() -> None:
        around = surrounding_backend()
        assert around is not None
        assert around.name == "twisted"
        with pytest.raises(RuntimeError, match="twisted"):
            bridgeio.blocking(bridgeio.sleep)(0)
        with pytest.raises(NoBackendError, match="callback"):
            bridgeio.current_backend()

    await deferLater(reactor, 0, callback)


@promise
async def a_worker_thread_is_not_inside_twisted(reactor: Any) -> None:
    """Beside the running reactor there is no backend, a coroutine cannot be started, and blocking works."""

    def worker() -> None:
        with pytest.raises(NoBackendError, match="no framework is running here"):
            bridgeio.current_backend()
        with pytest.raises(RuntimeError, match="blockingCallFromThread"):
            as_deferred(bridgeio.sleep(0))
        bridgeio.blocking(bridgeio.sleep)(0)

    await deferToThread(worker)


@promise
async def an_asyncio_task_beside_is_on_asyncio(reactor: Any) -> None:
    """Under asyncio's reactor an asyncio task is asyncio's, in a task of ours it is not, and sniffio agrees."""

    async def native() -> str:
        await bridgeio.sleep(0)
        return bridgeio.current_backend() + sniffio.current_async_library()

    async def ours() -> str:
        seen = bridgeio.current_backend() + sniffio.current_async_library()
        if kind_of(reactor) == "AsyncioSelectorReactor":
            assert await Deferred.fromFuture(asyncio.ensure_future(native())) == "asyncioasyncio"
        return seen

    assert await as_deferred(ours()) == "twistedtwisted"
    assert sniffio.thread_local.name is None


@promise
async def a_running_reactor_is_busy(reactor: Any) -> None:
    """``bridgeio.run`` does not start what runs already; the error names ``as_deferred``."""

    async def nothing() -> None:
        """Is not even called."""

    with pytest.raises(BackendBusyError, match="as_deferred"):
        bridgeio.run(nothing, backend="twisted")


@promise
async def context_variables_are_a_tasks_own(reactor: Any) -> None:
    """A task has a copy of its caller's context, keeps it over all waits, and does not change the caller's."""
    variable = contextvars.ContextVar("variable", default="outside")

    async def work(mine: str) -> str:
        assert variable.get() == "caller"
        variable.set(mine)
        await turn(reactor)
        await bridgeio.sleep(0.001)
        return variable.get()

    variable.set("caller")
    tasks = [as_deferred(work(name)) for name in "ab"]
    assert [await task for task in tasks] == ["a", "b"]
    assert variable.get() == "caller"


@promise
async def a_dropped_generator_ends_in_its_own_world(reactor: Any) -> None:
    """The cleanup of an async generator that the collector finds runs as a task, after the collection."""
    seen: list[str] = []

    async def ticks() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await bridgeio.sleep(0.001)
            seen.append(bridgeio.current_backend())

    async def work() -> None:
        async for _ in ticks():
            break
        gc.collect()
        assert seen == []

    hooks = sys.get_asyncgen_hooks()
    await as_deferred(work())
    while not seen:
        await turn(reactor)
    assert seen == ["twisted"]
    assert sys.get_asyncgen_hooks() == hooks


# Streams


class Echo(Protocol):
    """Twisted's own server and client."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.gone: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        if isinstance(self.factory, ClientFactory):
            self.transport.write(b"from a Protocol")

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if not isinstance(self.factory, ClientFactory):
            self.transport.write(data)
        elif self.received == b"from a Protocol":
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.gone.callback(self.received)


@promise
async def a_protocol_talks_to_our_server(reactor: Any) -> None:
    """A client that is a Twisted Protocol, in the same reactor."""
    client = Echo()

    class Connecting(ClientFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Echo:
            client.factory = self
            return client

    async def serve() -> bytes:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            reactor.connectTCP("127.0.0.1", server.port, Connecting())
            return await client.gone

    assert await as_deferred(serve()) == b"from a Protocol"


@promise
async def our_client_talks_to_a_factorys_server(reactor: Any) -> None:
    """A server that is a Twisted Factory, in the same reactor."""
    servers: list[Echo] = []

    class Server(Echo):
        def makeConnection(self, transport: Any) -> None:
            servers.append(self)
            super().makeConnection(transport)  # type: ignore[no-untyped-call]

    factory = Factory.forProtocol(Server)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")

    async def client() -> bytes:
        reader, writer = await bridgeio.open_connection("127.0.0.1", port.getHost().port)
        async with writer:
            writer.write(b"from a coroutine")
            return await reader.readexactly(16)

    assert await as_deferred(client()) == b"from a coroutine"
    assert await servers[0].gone == b"from a coroutine"
    await port.stopListening()


class Resolver:
    """An application's own name resolver."""

    def __init__(self, *addresses: Any) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.kinds: list[tuple[Any, str]] = []
        self.cancelled = 0
        self.given_up: bridgeio.CancelScope | None = None

    def resolveHostName(
        self, receiver: Any, name: str, port: int = 0, types: Any = None, semantics: str = "TCP"
    ) -> Any:
        self.asked.append(name)
        self.kinds.append((types, semantics))
        receiver.resolutionBegan(self)
        for address in self.addresses:
            receiver.addressResolved(address(port))
        if self.given_up is None:
            receiver.resolutionComplete()
        else:
            self.given_up.cancel()
        return self

    def cancel(self) -> None:
        self.cancelled += 1


@promise
async def the_applications_resolver_is_asked(reactor: Any) -> None:
    """One that was installed in the reactor says where a name is; nothing found is a gaierror; it can be cancelled."""
    resolver = Resolver(lambda p: IPv4Address("TCP", "127.0.0.1", p), lambda p: IPv6Address("TCP", "::1", p))
    before = reactor.installNameResolver(resolver)

    async def work() -> None:
        async with bridgeio.serve(echo, "somewhere.test") as server:
            _, writer = await bridgeio.open_connection("somewhere.test", server.port)
            assert {address[0] for address in server.addresses} == {"127.0.0.1", "::1"}
            writer.abort()
        resolver.addresses = ()
        with pytest.raises(socket.gaierror, match=r"nowhere\.test"):
            await bridgeio.open_connection("nowhere.test", 1)
        with bridgeio.CancelScope() as scope:
            resolver.given_up = scope
            await bridgeio.open_connection("slow.test", 1)
        assert scope.cancelled_caught

    try:
        await as_deferred(work())
    finally:
        reactor.installNameResolver(before)
    assert resolver.asked == ["somewhere.test", "somewhere.test", "nowhere.test", "slow.test"]
    assert resolver.cancelled == 1


@implementer(IResolverSimple)
class SimpleResolver:
    """One of the older kind, such as twisted.names gives: one address for a name, IPv4 or not."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = addresses

    def getHostByName(self, name: str, timeout: Any = ()) -> Deferred[str]:
        found = self.addresses.get(name.partition(".")[0])
        return fail(DNSLookupError(name)) if found is None else succeed(found)


@promise
async def the_applications_simple_resolver_is_asked(reactor: Any) -> None:
    """One that ``installResolver`` has put there, around which the reactor puts one of its own."""
    before, name_resolver = reactor.resolver, reactor.nameResolver
    reactor.installResolver(SimpleResolver(old="127.0.0.9", new="::9"))

    async def work() -> None:
        for name, address in (("old.test", "127.0.0.9"), ("new.test", "::9")):
            assert [info[4][0] for info in await bridgeio.getaddrinfo(name, 7, type=socket.SOCK_STREAM)] == [address]
        with pytest.raises(socket.gaierror, match=r"nowhere\.test"):
            await bridgeio.getaddrinfo("nowhere.test", 7)

    try:
        await as_deferred(work())
    finally:
        reactor.installNameResolver(name_resolver)
        reactor.resolver = before


@promise
async def the_applications_resolver_is_asked_for_datagrams(reactor: Any) -> None:
    """It hears of UDP, of a family that is asked for, and of names in ASCII; questions that it cannot answer are the
    system's: flags, other kinds of sockets, and names of addresses."""
    resolver = Resolver(lambda p: IPv6Address("UDP", "::1", p), lambda p: IPv4Address("UDP", "127.0.0.1", p))
    before = reactor.installNameResolver(resolver)

    async def work() -> None:
        async with await bridgeio.create_udp_socket(local_host="127.0.0.1") as udp:
            port = udp.get_extra_info("sockname")[1]
            await udp.sendto(b"to myself", "somewhere.test", port)
            assert (await udp.receive())[0] == b"to myself"
        ipv4 = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 7))]
        ipv6 = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 7))]
        both = await bridgeio.getaddrinfo("bücher.test", 7, type=socket.SOCK_STREAM)
        assert both == ipv6 + ipv4
        everything = await bridgeio.getaddrinfo("somewhere.test", 7, family=socket.AF_INET)
        assert [(info[1], info[4]) for info in everything] == [
            (socket.SOCK_STREAM, ("127.0.0.1", 7)),
            (socket.SOCK_DGRAM, ("127.0.0.1", 7)),
        ]
        await bridgeio.getaddrinfo("localhost", 7, flags=socket.AI_CANONNAME)
        await bridgeio.getaddrinfo("localhost", None, type=socket.SOCK_RAW)
        assert (await bridgeio.getnameinfo(("127.0.0.1", 7), socket.NI_NUMERICHOST))[0] == "127.0.0.1"

    try:
        await as_deferred(work())
    finally:
        reactor.installNameResolver(before)
    assert resolver.asked == ["somewhere.test", "xn--bcher-kva.test", "somewhere.test"]
    assert resolver.kinds == [([IPv4Address], "UDP"), (None, "TCP"), ([IPv4Address], "TCP")]


@promise
async def nothing_is_left_in_the_reactor(reactor: Any) -> None:
    """When the last task has ended and no stream is open: no watch, no timer, no descriptor, no trigger."""

    async def work() -> None:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            with bridgeio.fail_after(20):
                assert await ask(server.port, b"hello") == b"hello"

    def held() -> tuple[Any, ...]:
        return set(reactor.getReaders()), reactor.getWriters(), reactor.getDelayedCalls(), open_descriptors()

    before = held()
    await as_deferred(work())
    await turn(reactor)
    assert held() == before


@promise
async def a_stream_outlives_the_task_that_made_it(reactor: Any) -> None:
    """Twisted's code may hold a Reader and a Writer between two of our tasks."""
    port = reactor.listenTCP(0, Factory.forProtocol(Echo), interface="127.0.0.1")
    port.factory.noisy = False
    reader, writer = await as_deferred(bridgeio.open_connection("127.0.0.1", port.getHost().port))
    await turn(reactor)
    writer.write(b"later")
    assert await as_deferred(reader.readexactly(5)) == b"later"
    writer.close()
    await port.stopListening()


def kind_of(reactor: Any) -> str:
    return type(reactor).__name__
