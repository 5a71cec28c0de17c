"""Chapter: names. What `socket` answers about names and addresses, without holding up other tasks."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from enum import IntEnum
from ipaddress import ip_address
from typing import Any

import pytest

import bridgeio
import bridgeio.lookups
from bridgeio.contract import AddressInfo, Host
from bridgeio.names import address_pair
from bridgeio.registry import current_host
from bridgeio.testing.peers import has_ipv6
from bridgeio.testing.resources import unchanged
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio


async def test_a_question_about_a_number() -> None:
    """It is answered as it is, once for each kind of socket, in the classes of `socket`."""
    found = await bridgeio.getaddrinfo("127.0.0.1", 80)
    assert {(kind, address) for _, kind, _, _, address in found} >= {
        (socket.SOCK_STREAM, ("127.0.0.1", 80)),
        (socket.SOCK_DGRAM, ("127.0.0.1", 80)),
    }
    for family, kind, proto, name, _ in found:
        assert (family, type(family), type(kind)) == (socket.AF_INET, socket.AddressFamily, socket.SocketKind)
        assert (type(proto), name) == (int, "")


async def test_what_is_asked_for() -> None:
    """The family, the kind of socket, the protocol and the flags choose, and a service has a name."""
    for kind, proto in ((socket.SOCK_STREAM, socket.IPPROTO_TCP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP)):
        only = (socket.AF_INET, kind, proto, "", ("127.0.0.1", 7))
        assert await bridgeio.getaddrinfo("127.0.0.1", 7, type=kind) == [only]
        assert await bridgeio.getaddrinfo("127.0.0.1", "7", proto=proto) == [only]
        found = await bridgeio.getaddrinfo("localhost", 7, family=socket.AF_INET, type=kind)
        assert (*only[:3], only[4]) in [(*info[:3], info[4]) for info in found]
    passive = await bridgeio.getaddrinfo(
        None, 7, family=socket.AF_INET, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    assert passive[0][4] == ("0.0.0.0", 7)
    with pytest.raises(socket.gaierror, match="resolve 'localhost'"):
        await bridgeio.getaddrinfo("localhost", 7, flags=socket.AI_NUMERICHOST)


async def test_a_port_with_a_name() -> None:
    """A member of an ``IntEnum`` is a number."""

    class Port(IntEnum):
        ECHO = 7

    assert {address for *_, address in await bridgeio.getaddrinfo("127.0.0.1", Port.ECHO)} == {("127.0.0.1", 7)}


async def test_ipv6_addresses_are_pairs() -> None:
    """Host and port, as AnyIO has them; the scope of a link-local address stands in the host."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    assert (await bridgeio.getaddrinfo("::1", 7))[0][4] == ("::1", 7)
    index, name = socket.if_nameindex()[0]
    for scope in (str(index), name):
        assert (await bridgeio.getaddrinfo(f"fe80::1%{scope}", 7))[0][4] == (f"fe80::1%{index}", 7)
    assert (await bridgeio.getaddrinfo(ip_address("::1"), 7))[0][4] == ("::1", 7)


@pytest.mark.parametrize(
    ("address", "pair"),
    [
        (("127.0.0.1", 7), ("127.0.0.1", 7)),
        (("::1", 7, 0, 0), ("::1", 7)),
        (("fe80::1", 7, 0, 3), ("fe80::1%3", 7)),
        (("fe80::1%eth0", 7, 0, 3), ("fe80::1%3", 7)),
    ],
)
async def test_an_address_as_a_pair(address: Any, pair: Any) -> None:
    """What `socket` has as two, or as four, is two."""
    assert address_pair(address) == pair


async def test_the_name_of_an_address() -> None:
    """Host and service, as names where there are some, or as numbers where those are asked for."""
    assert (await bridgeio.getnameinfo(("127.0.0.1", 9)))[0] != ""
    numbers = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await bridgeio.getnameinfo(("127.0.0.1", 9), numbers) == ("127.0.0.1", "9")
    if has_ipv6():
        for address in (("::1", 9), ("::1", 9, 0, 0)):
            assert await bridgeio.getnameinfo(address, numbers) == ("::1", "9")
    for address in (("127.0.0.1", 9), ("127.0.0.1", 514)):
        for kind in (0, socket.NI_DGRAM):
            expected = original("socket", "getnameinfo")(address, kind | socket.NI_NUMERICHOST)
            assert await bridgeio.getnameinfo(address, kind | socket.NI_NUMERICHOST) == expected


async def _never_called(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    """A handler for a server that never listens."""


UNKNOWN: dict[str, tuple[Callable[[], Awaitable[Any]], str]] = {
    "no address": (lambda: bridgeio.getnameinfo(("localhost", 9)), "find a name for localhost:9"),
    "no text": (lambda: bridgeio.getnameinfo(("\udc80", 9)), "find a name for"),
    "an empty label": (lambda: bridgeio.getaddrinfo("a..example", 9), "'a..example' is no valid host name"),
    "a name that is two hosts": (lambda: bridgeio.getaddrinfo("straße.example", 9), "IDNA 2008"),
    "a service that there is not": (lambda: bridgeio.getaddrinfo("127.0.0.1", "no such service"), "127.0.0.1"),
    "a name for a datagram": (lambda: bridgeio.create_connected_udp_socket("a..example", 9), "no valid host name"),
    "a name to serve on": (lambda: bridgeio.serve_task(_never_called, "a..example"), "no valid host name"),
}


@pytest.mark.parametrize("what", UNKNOWN)
async def test_what_has_no_answer(what: str) -> None:
    """It is a gaierror that says what was asked."""
    question, words = UNKNOWN[what]
    await bridgeio.getaddrinfo("localhost", 9)  # a resolver may keep a thread for a while
    async with unchanged():
        with pytest.raises(socket.gaierror, match=words):
            await question()


WRONG: dict[str, tuple[Callable[[], Awaitable[Any]], type[Exception]]] = {
    "a port too high": (lambda: bridgeio.getaddrinfo("127.0.0.1", 65536), ValueError),
    "a number for a host": (lambda: bridgeio.getaddrinfo(127, 80), TypeError),  # type: ignore[arg-type]
    "text for an address": (lambda: bridgeio.getnameinfo("127.0.0.1"), TypeError),  # type: ignore[arg-type]
    "no port": (lambda: bridgeio.getnameinfo(("127.0.0.1",)), TypeError),
    "a port that is no number": (lambda: bridgeio.getaddrinfo("127.0.0.1", 1.5), TypeError),  # type: ignore[arg-type]
    "a text for a port": (lambda: bridgeio.getnameinfo(("127.0.0.1", "80")), TypeError),
    "a port that the system would cut": (lambda: bridgeio.getnameinfo(("127.0.0.1", 65536 + 80)), ValueError),
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_questions(what: str) -> None:
    """They are refused at once."""
    question, kind = WRONG[what]
    with pytest.raises(kind):
        await question()


async def test_a_resolver_is_asked_in_ascii() -> None:
    """Whoever is asked for an address gets the name as it goes over the wire."""
    asked: list[Any] = []

    async def resolve(host: str | None, port: int | str | None, family: int, flags: int) -> list[AddressInfo]:
        asked.append(host)
        return []

    with pytest.raises(bridgeio.ConnectError):
        await bridgeio.open_connection("bücher.example", 1, resolver=resolve)
    assert asked == ["xn--bcher-kva.example"]


@pytest.mark.parametrize("question", ["getaddrinfo", "getnameinfo"])
async def test_a_slow_answer_holds_up_nobody(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the name service is asked others go on; a cancel gives the answer up at once."""
    if type(current_host()).reverse is not Host.reverse:
        pytest.skip("this adapter asks its framework's own resolver, which its own tests try")
    gate = original("_thread", "allocate_lock")()
    gate.acquire()

    def slow(*args: Any, **how: Any) -> Any:
        if how.get("flags", 0) & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        gate.acquire()
        gate.release()
        return []

    def original_but(module: str, name: str) -> Any:
        return slow if name == question else original(module, name)

    monkeypatch.setattr(bridgeio.lookups, "original", original_but)
    ask: dict[str, Callable[[], Awaitable[Any]]] = {
        "getaddrinfo": lambda: bridgeio.getaddrinfo("bridge.test", 1),
        "getnameinfo": lambda: bridgeio.getnameinfo(("127.0.0.1", 1)),
    }
    async with unchanged():
        with bridgeio.move_on_after(0.02) as scope:
            await ask[question]()
        assert scope.cancelled_caught
        gate.release()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
