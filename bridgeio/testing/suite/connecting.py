"""Chapter: connecting. Names, several addresses, failures, and a cancel at any moment."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio.contract import AddressInfo, Host
from bridgeio.registry import current_host
from bridgeio.resolver import Resolver
from bridgeio.testing.peers import RawListener, free_address, has_ipv6, open_to, raw_socket
from bridgeio.testing.resources import unchanged, until
from bridgeio.timers import Timer
from bridgeio.unpatched import original

LONG = 1000.0  # seconds that no test waits for

pytestmark = pytest.mark.bridgeio


def _resolver(*addresses: Any) -> Resolver:
    """A name service that knows one answer."""

    async def resolve(host: str | None, port: int | str | None, family: int, flags: int) -> list[AddressInfo]:
        kinds = {2: socket.AF_INET, 4: socket.AF_INET6}
        return [(kinds[len(address)], socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]

    return resolve


async def _leave(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    writer.close()


def _nobody() -> tuple[str, int]:
    """An address where nobody listens."""
    with RawListener() as listener:
        address: tuple[str, int] = listener.address
        return address


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
async def test_a_numeric_address(family: str, socket_folder: Path) -> None:
    """A numeric address is connected to, and both ends agree on who they are."""
    with RawListener(free_address(family, socket_folder)) as listener:
        _, writer = await open_to(listener.address)
        with await listener.accept() as peer:
            assert writer.get_extra_info("peername")[:2] == listener.address[:2]
            assert writer.get_extra_info("sockname")[:2] == peer.sock.getpeername()[:2]
        writer.close()


async def test_a_name_is_resolved() -> None:
    """``localhost`` is looked up, and whichever of its addresses answers is taken."""
    with RawListener() as listener:
        _, writer = await bridgeio.open_connection("localhost", listener.port)
        (await listener.accept()).close()
        writer.close()


async def test_small_messages_leave_at_once() -> None:
    """TCP_NODELAY is set: no message waits for an acknowledgement."""
    with RawListener() as listener:
        _, writer = await bridgeio.open_connection("127.0.0.1", listener.port)
        assert writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        (await listener.accept()).close()
        writer.close()


async def test_from_a_local_address() -> None:
    """``local_addr`` is where the connection comes from."""
    with RawListener() as listener:
        _, writer = await bridgeio.open_connection("127.0.0.1", listener.port, local_addr=("127.0.0.1", 0))
        with await listener.accept() as peer:
            assert peer.sock.getpeername() == writer.get_extra_info("sockname")
        writer.close()
        with pytest.raises(bridgeio.ConnectError):
            await bridgeio.open_connection("127.0.0.1", listener.port, local_addr=("192.0.2.1", 0))


async def test_the_second_address_when_the_first_is_silent() -> None:
    """An address that does not answer holds up the next for ``happy_eyeballs_delay`` only; it is then dropped."""
    with RawListener(backlog=0) as silent, RawListener() as good:
        await silent.fill_queue()
        async with unchanged():
            _, writer = await bridgeio.open_connection(
                "bridge.test", 1, resolver=_resolver(silent.address, good.address), happy_eyeballs_delay=0.01
            )
            assert writer.get_extra_info("peername") == good.address
            (await good.accept()).close()
            writer.close()


async def test_the_second_address_when_the_first_refuses() -> None:
    """An address that refuses does not hold up the next at all."""
    with RawListener() as good:
        _, writer = await bridgeio.open_connection(
            "bridge.test", 1, resolver=_resolver(_nobody(), good.address), happy_eyeballs_delay=LONG
        )
        assert writer.get_extra_info("peername") == good.address
        (await good.accept()).close()
        writer.close()


async def test_a_refusal_holds_up_nobody_while_an_older_attempt_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt begins when the newest has failed, though an older one is still under way."""
    delays: list[float] = []
    timers = current_host().timers
    add = timers.add

    def count(when: float, callback: Callable[[], object]) -> Timer:
        delays.append(when)
        return add(when, callback)

    with RawListener(backlog=0) as silent, RawListener() as good:
        await silent.fill_queue()
        monkeypatch.setattr(timers, "add", count)
        resolver = _resolver(silent.address, _nobody(), good.address)
        _, writer = await bridgeio.open_connection("bridge.test", 1, resolver=resolver, happy_eyeballs_delay=0.01)
        writer.abort()
    assert len(delays) == 2  # the silent one's, and the other's that did not pass


@pytest.mark.parametrize("port", [-1, 65536, 65536 + 80])
async def test_a_port_that_cannot_be(port: int) -> None:
    """It is refused, and not taken modulo 65536 as the system's resolver does."""
    with pytest.raises(ValueError, match=str(port)):
        await bridgeio.open_connection("127.0.0.1", port)
    with pytest.raises(ValueError, match=str(port)):
        async with bridgeio.serve(_leave, "127.0.0.1", port):
            raise AssertionError("entered")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("local_addr", "127.0.0.1", TypeError),
        ("local_addr", ("127.0.0.1",), TypeError),
        ("happy_eyeballs_delay", "x", TypeError),
        ("happy_eyeballs_delay", None, TypeError),
        ("happy_eyeballs_delay", -1, ValueError),
        ("resolver", 5, TypeError),
    ],
)
async def test_options_that_make_no_sense(option: str, value: Any, error: type[Exception]) -> None:
    """They are refused by name before anything is tried, also where a numeric address has no use for them."""
    with pytest.raises(error, match=f"^{option} is "):
        await bridgeio.open_connection(*_nobody(), **{option: value})


async def test_the_first_address_may_still_win() -> None:
    """An attempt that is late is not given up when the next begins: here the next refuses."""
    with RawListener(backlog=0) as late:
        await late.fill_queue()
        opened: list[bridgeio.Writer] = []

        async def connect() -> None:
            _, writer = await bridgeio.open_connection(
                "bridge.test", 1, resolver=_resolver(late.address, _nobody()), happy_eyeballs_delay=0.01
            )
            opened.append(writer)

        async def accept_all() -> None:
            while True:
                (await late.accept()).close()

        async with bridgeio.create_task_group() as group:
            group.start_soon(connect)
            for _ in range(20):
                await bridgeio.sleep(0.002)
            assert opened == []
            group.start_soon(accept_all)  # what filled the queue comes through first
            await until(lambda: opened)
            group.cancel_scope.cancel()
        assert opened[0].get_extra_info("peername") == late.address
        opened[0].abort()


async def test_the_families_take_turns() -> None:
    """Addresses are tried alternating between the families, beginning with the resolver's first (RFC 8305)."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    dead = [_nobody(), _nobody(), ("::1", _nobody()[1], 0, 0), ("::1", _nobody()[1], 0, 0)]
    with pytest.raises(bridgeio.ConnectError) as caught:
        await bridgeio.open_connection("bridge.test", 1, resolver=_resolver(*dead))
    assert [address for address, _ in caught.value.errors] == [dead[0], dead[2], dead[1], dead[3]]


async def test_every_addresss_failure_is_told() -> None:
    """When nobody answers, the error has each address with its own error, and the name that was asked for."""
    dead = [_nobody(), _nobody()]
    with pytest.raises(bridgeio.ConnectError, match=r"bridge\.test") as caught:
        await bridgeio.open_connection("bridge.test", 1, resolver=_resolver(*dead))
    assert [address for address, _ in caught.value.errors] == dead
    assert all(isinstance(error, ConnectionRefusedError) for _, error in caught.value.errors)
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert str(dead[0][1]) in str(caught.value)


async def test_a_name_without_addresses() -> None:
    """A resolver that knows no address is a ConnectError that says so."""
    with pytest.raises(bridgeio.ConnectError, match="no address"):
        await bridgeio.open_connection("bridge.test", 1, resolver=_resolver())


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", "\udcff"])
async def test_a_name_that_cannot_be(name: str) -> None:
    """A name that no name service could know is `socket.gaierror`, with the name."""
    async with unchanged():
        with pytest.raises(socket.gaierror, match=r"resolve|host name"):
            await bridgeio.open_connection(name, 1)


async def test_a_service_that_nobody_knows() -> None:
    """What the name service says of it comes out with its name, for the host's may be right."""
    service: Any = "no-such-service"
    with pytest.raises(socket.gaierror, match=r"'127\.0\.0\.1', service 'no-such-service'"):
        await bridgeio.open_connection("127.0.0.1", service)


async def test_a_name_that_does_not_resolve() -> None:
    """What the name service says comes out as `socket.gaierror`, with the name."""

    async def resolve(host: str | None, port: int | str | None, family: int, flags: int) -> list[AddressInfo]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with unchanged():
        with pytest.raises(socket.gaierror, match=r"bridge\.test") as caught:
            await bridgeio.open_connection("bridge.test", 1, resolver=resolve)
    assert caught.value.errno == socket.EAI_NONAME


async def test_a_slow_name_service_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a name is looked up others go on; a cancel gives the answer up at once."""
    if type(current_host()).resolve is not Host.resolve:
        pytest.skip("this adapter asks its framework's own resolver, which its own tests try")
    answer = original("_thread", "allocate_lock")()
    answer.acquire()
    lookup = original("socket", "getaddrinfo")

    def slow(host: str, port: object, **how: Any) -> Any:
        if how.get("flags", 0) & socket.AI_NUMERICHOST:
            return lookup(host, port, **how)
        answer.acquire()
        answer.release()
        return lookup("127.0.0.1", port, **how)

    _replace_getaddrinfo(monkeypatch, slow)
    with RawListener() as listener:
        async with unchanged():
            with bridgeio.move_on_after(0.05) as scope:
                await bridgeio.open_connection("bridge.test", listener.port)
            assert scope.cancelled_caught
            answer.release()


def _replace_getaddrinfo(monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any]) -> None:
    import bridgeio.lookups

    def original_but(module: str, name: str) -> Any:
        return function if name == "getaddrinfo" else original(module, name)

    monkeypatch.setattr(bridgeio.lookups, "original", original_but)


async def test_a_connect_that_never_answers() -> None:
    """A deadline ends a connect to a listener whose queue is full, and nothing of it is left."""
    with RawListener(backlog=0) as silent:
        await silent.fill_queue()
        async with unchanged():
            with pytest.raises(TimeoutError), bridgeio.fail_after(0.05):
                await bridgeio.open_connection("127.0.0.1", silent.port)


async def test_a_cancelled_connect_leaves_nothing() -> None:
    """A cancel during any of several attempts closes all of them."""
    with RawListener(backlog=0) as silent:
        await silent.fill_queue()
        async with unchanged():
            for delay in (0.0, 0.001, 0.01, 0.03):
                with bridgeio.move_on_after(delay):
                    await bridgeio.open_connection(
                        "bridge.test", 1, resolver=_resolver(*[silent.address] * 5), happy_eyeballs_delay=0.005
                    )


async def test_a_deadline_between_two_attempts() -> None:
    """A deadline that falls due together with the next attempt ends the connect: it is not lost between the two."""
    with RawListener(backlog=0) as silent:
        await silent.fill_queue()
        begin = bridgeio.current_time()

        async def connect() -> None:
            with bridgeio.move_on_at(begin + 0.03):
                resolver = _resolver(silent.address, silent.address)
                await bridgeio.open_connection("bridge.test", 1, resolver=resolver, happy_eyeballs_delay=0.02)

        async with bridgeio.create_task_group() as group:
            group.start_soon(connect)
            await bridgeio.sleep(0.005)
            while bridgeio.current_time() < begin + 0.06:  # nobody gets a turn until both are overdue
                pass


async def test_a_connect_in_a_cancelled_scope() -> None:
    """A cancelled task does not even begin to connect."""
    with RawListener() as listener, bridgeio.CancelScope() as scope:
        scope.cancel()
        await bridgeio.open_connection("127.0.0.1", listener.port)
    assert scope.cancelled_caught
    with RawListener() as listener, pytest.raises(BlockingIOError):
        listener.sock.accept()


async def test_refused() -> None:
    """Where nobody listens a connect is a ConnectError; nothing is left."""
    async with unchanged():
        with pytest.raises(bridgeio.ConnectError, match="refused"):
            await bridgeio.open_connection(*_nobody())


async def test_a_unix_path(socket_folder: Path) -> None:
    """A path may be a `Path`, a string or bytes."""
    path = socket_folder / "s"
    with RawListener(str(path)) as listener:
        for same in (path, str(path), str(path).encode()):
            _, writer = await bridgeio.open_unix_connection(same)
            (await listener.accept()).close()
            writer.close()


async def test_unix_errors(socket_folder: Path) -> None:
    """The system's errors keep their class, and say which path it was."""
    async with unchanged():
        with pytest.raises(FileNotFoundError, match="nothing"):
            await bridgeio.open_unix_connection(socket_folder / "nothing")
        with pytest.raises(OSError, match=r"connect to .*too-long"):
            await bridgeio.open_unix_connection(socket_folder / ("too-long" * 20))
        with raw_socket(socket.AF_UNIX) as dead:
            dead.bind(str(socket_folder / "dead"))
        with pytest.raises(ConnectionRefusedError, match="dead"):
            await bridgeio.open_unix_connection(socket_folder / "dead")


async def test_a_full_unix_queue(socket_folder: Path) -> None:
    """Where the server's queue is full a connect waits; it can be cancelled, and goes on when there is room."""
    with RawListener(str(socket_folder / "s"), backlog=0) as listener:
        async with unchanged():
            _, first = await bridgeio.open_unix_connection(listener.address)
            with bridgeio.move_on_after(0.02) as scope:
                await bridgeio.open_unix_connection(listener.address)
            assert scope.cancelled_caught
            second: list[bridgeio.Writer] = []

            async def connect() -> None:
                second.append((await bridgeio.open_unix_connection(listener.address))[1])

            async with bridgeio.create_task_group() as group:
                group.start_soon(connect)
                (await listener.accept()).close()
                await until(lambda: second)
                (await listener.accept()).close()
            first.close()
            second[0].close()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
